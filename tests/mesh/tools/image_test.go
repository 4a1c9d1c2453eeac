package tools

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"istio.io/istio/pkg/wasm"
)

const dist = "../../../dist/"

// What `./build.sh package` leaves, pushed to a registry, is fetched by Istio's agent as the filter.
func TestIstiosAgentFetchesTheFilterFromTheImage(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	image := strings.TrimPrefix(server.URL, "http://") + "/traffic-split:0.1.0"
	push(t, dist+"traffic-split-oci", image)

	fetch, _, err := wasm.NewImageFetcher(context.Background(), wasm.ImageFetcherOption{}).PrepareFetch(image)
	if err != nil {
		t.Fatal(err)
	}
	fetched, err := fetch()
	if err != nil {
		t.Fatal(err)
	}
	filter, err := os.ReadFile(dist + "traffic-split.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fetched, filter) {
		t.Fatalf("fetched %d bytes, and the filter has %d", len(fetched), len(filter))
	}
}

func push(t *testing.T, from, to string) {
	index, err := layout.ImageIndexFromPath(from)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	reference, err := name.ParseReference(to, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image); err != nil {
		t.Fatal(err)
	}
}
