//go:build tools

// Package tools pins the programs of the mesh that `./build.sh mesh` builds: a real Kubernetes API, its client, and a
// real Istiod.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
