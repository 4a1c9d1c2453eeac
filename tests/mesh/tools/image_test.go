package tools

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
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

// The controller's image has one file, which is the controller and needs nothing else.
func TestTheControllersImageIsWhole(t *testing.T) {
	image := open(t, dist+"traffic-split-controller-oci")
	if err := validate.Image(image); err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Config.Entrypoint, []string{"/traffic-split"}) || config.Config.User != "65532:65532" {
		t.Fatalf("it starts %v as %s", config.Config.Entrypoint, config.Config.User)
	}

	files := tar.NewReader(mutate.Extract(image))
	header, err := files.Next()
	if err != nil {
		t.Fatal(err)
	}
	if header.Name != "traffic-split" || header.Mode != 0o755 {
		t.Fatalf("%s has the mode %o", header.Name, header.Mode)
	}
	controller, err := io.ReadAll(files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.Next(); err != io.EOF {
		t.Fatalf("there is more than one file: %v", err)
	}

	program, err := elf.NewFile(bytes.NewReader(controller))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			t.Fatal("it wants a dynamic linker, and there is none in the image")
		}
	}
	path := filepath.Join(t.TempDir(), "traffic-split")
	if err := os.WriteFile(path, controller, 0o755); err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(path, "controller", "--help").Output()
	if err != nil || !strings.Contains(string(help), "--lease-namespace") {
		t.Fatalf("%v: %s", err, help)
	}
}

func open(t *testing.T, from string) v1.Image {
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
	return image
}

func push(t *testing.T, from, to string) {
	image := open(t, from)
	reference, err := name.ParseReference(to, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image); err != nil {
		t.Fatal(err)
	}
}
