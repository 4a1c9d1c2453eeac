package tools

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpwasm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"istio.io/istio/pkg/util/sets"
	"istio.io/istio/pkg/wasm"
	"sigs.k8s.io/yaml"
)

const dist = "../../../dist/"

// Istio's agent fetches the filter that `render` names, from the image of `./build.sh package` in a registry or from a web
// server, and replaces its URL by a local file. The agent checks the digest of the image, or the hash of the file.
func TestIstiosAgentFetchesTheFilterThatIsRendered(t *testing.T) {
	filter, err := os.ReadFile(dist + "traffic-split.wasm")
	if err != nil {
		t.Fatal(err)
	}
	images := httptest.NewServer(registry.New())
	defer images.Close()
	image := strings.TrimPrefix(images.URL, "http://") + "/traffic-split:0.1.0"
	digest := push(t, dist+"traffic-split-oci", image)
	files := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(filter) }))
	defer files.Close()

	byDigest := "oci://" + strings.TrimSuffix(image, ":0.1.0") + "@" + digest.String()
	for location, options := range map[string][]string{
		"oci://" + image:                  {"--wasm-sha256", digest.Hex},
		byDigest:                          {},
		files.URL + "/traffic-split.wasm": {"--wasm-sha256", fmt.Sprintf("%x", sha256.Sum256(filter))},
	} {
		given, _ := render(t, append([]string{"--wasm", location}, options...)...)
		made := convert(t, given, location)
		config := &httpwasm.Wasm{}
		if err := made.TypedConfig.UnmarshalTo(config); err != nil {
			t.Fatal(err)
		}
		fetched, err := os.ReadFile(config.Config.GetVmConfig().Code.GetLocal().GetFilename())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fetched, filter) {
			t.Fatalf("%s: fetched %d bytes, and the filter has %d", location, len(fetched), len(filter))
		}
	}
}

// If Istio's agent cannot fetch a filter, it passes Envoy a filter that denies all requests. Envoy refuses that filter, because
// its type is not in `type_urls`, and continues to serve requests.
func TestWhatIstiosAgentMakesOfAFilterThatItCannotFetchIsNoneThatEnvoyTakes(t *testing.T) {
	location := "oci://127.0.0.1:1/nowhere@sha256:" + strings.Repeat("0", 64)
	given, types := render(t, "--wasm", location)
	made := convert(t, given, location).TypedConfig.TypeUrl
	if !strings.HasSuffix(made, "rbac.v3.RBAC") {
		t.Fatalf("the agent made a %s of it", made)
	}
	if len(types) == 0 || slices.Contains(types, made) {
		t.Fatalf("Envoy takes %v", types)
	}
}

// render returns the guide's extension configuration in the rendered EnvoyFilter, and the types that Envoy accepts for it.
func render(t *testing.T, options ...string) (*core.TypedExtensionConfig, []string) {
	guide := "../../../envoy/examples/guide/"
	options = append(options, guide+"services.yaml", guide+"trafficsplit-50-50.yaml")
	output, err := exec.Command(dist+"traffic-split", append([]string{"render", "envoyfilter"}, options...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var filter struct {
		Spec struct {
			ConfigPatches []struct {
				ApplyTo string
				Patch   struct{ Value json.RawMessage }
			}
		}
	}
	if err := yaml.Unmarshal(output, &filter); err != nil {
		t.Fatal(err)
	}
	extension := &core.TypedExtensionConfig{}
	var point struct {
		Discovery struct {
			Types []string `json:"type_urls"`
		} `json:"config_discovery"`
	}
	for _, patch := range filter.Spec.ConfigPatches {
		switch patch.ApplyTo {
		case "EXTENSION_CONFIG":
			err = protojson.Unmarshal(patch.Patch.Value, extension)
		case "HTTP_FILTER":
			err = json.Unmarshal(patch.Patch.Value, &point)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return extension, point.Discovery.Types
}

// convert changes an extension configuration as Istio's agent does before it passes the configuration to Envoy.
func convert(t *testing.T, given *core.TypedExtensionConfig, location string) *core.TypedExtensionConfig {
	address, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	// The certificates of the test servers are not trusted.
	cache := wasm.NewLocalFileCache(t.TempDir(), wasm.Options{
		InsecureRegistries:    sets.New(address.Host),
		HTTPRequestTimeout:    wasm.DefaultHTTPRequestTimeout,
		HTTPRequestMaxRetries: wasm.DefaultHTTPRequestMaxRetries,
	})
	defer cache.Cleanup()
	resource, err := anypb.New(given)
	if err != nil {
		t.Fatal(err)
	}
	resources := []*anypb.Any{resource}
	if err := wasm.MaybeConvertWasmExtensionConfig(resources, cache); err != nil {
		t.Fatal(err)
	}
	made := &core.TypedExtensionConfig{}
	if err := resources[0].UnmarshalTo(made); err != nil {
		t.Fatal(err)
	}
	return made
}

// The controller's image contains only the controller, which runs without any other file.
func TestTheControllersImageIsWhole(t *testing.T) {
	image := open(t, dist+"traffic-split-controller-oci")
	if err := validate.Image(image); err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Config.Entrypoint, []string{"/traffic-split-controller"}) || config.Config.User != "65532:65532" {
		t.Fatalf("it starts %v as %s", config.Config.Entrypoint, config.Config.User)
	}

	files := tar.NewReader(mutate.Extract(image))
	header, err := files.Next()
	if err != nil {
		t.Fatal(err)
	}
	if header.Name != "traffic-split-controller" || header.Mode != 0o755 {
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
	path := filepath.Join(t.TempDir(), "traffic-split-controller")
	if err := os.WriteFile(path, controller, 0o755); err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(path, "run", "--help").Output()
	if err != nil || !strings.Contains(string(help), "--lease-namespace") {
		t.Fatalf("%v: %s", err, help)
	}
}

// The manifests that `./build.sh package` writes name both images by the digests of its image layouts.
func TestThePackagedManifestsNameBothImagesByDigest(t *testing.T) {
	programs := os.Getenv("MESH_PROGRAMS")
	if programs == "" {
		programs = "../../../target/mesh"
	}
	written, err := exec.Command(filepath.Join(programs, "kubectl"), "kustomize", dist+"manifests").Output()
	if err != nil {
		t.Fatal(err)
	}
	for layout, begin := range map[string]string{
		"traffic-split-controller-oci": "image: ",
		"traffic-split-oci":            "--wasm=oci://",
	} {
		digest, err := open(t, dist+layout).Digest()
		if err != nil {
			t.Fatal(err)
		}
		named := strings.TrimSuffix(layout, "-oci") + "@" + digest.String()
		is := func(line string) bool { return strings.Contains(line, begin) && strings.HasSuffix(line, "/"+named) }
		if !slices.ContainsFunc(strings.Split(string(written), "\n"), is) {
			t.Fatalf("no line has %s…/%s:\n%s", begin, named, written)
		}
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

func push(t *testing.T, from, to string) v1.Hash {
	image := open(t, from)
	reference, err := name.ParseReference(to, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}
