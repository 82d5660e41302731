package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

// BenchmarkLimitsAndRender measures a start without the JVM: reading cgroups and option files, sizing, choosing a flavor, merging.
func BenchmarkLimitsAndRender(b *testing.B) {
	file := filepath.Join(b.TempDir(), "jvm.options")
	if err := os.WriteFile(file, []byte("# ours\n-Xmx200m\n-Da=b\n--add-opens java.base/java.lang=ALL-UNNAMED\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	cfg := jvm.Config{
		Default:  jvm.LayerConfig{Options: []jvm.Inline{{Option: "-Xlog:gc"}, {Option: "-Dp=1"}}},
		User:     jvm.LayerConfig{Files: []jvm.File{{File: file}}, Env: []string{"APP_OPTS"}},
		Enforced: jvm.LayerConfig{Options: []jvm.Inline{{Option: "-Dp=2"}, {Option: "-Xss512k"}}},
		Flavors:  []jvm.Profile{{Name: "a", Match: jvm.Match{Memory: jvm.MemoryRange{AtLeast: "1MiB"}}, Metaspace: "200MiB"}},
	}
	for b.Loop() {
		l := &sources{cfg: cfg, shared: &Shared{Labels: noLabels},
			env: service.Environment{Vars: map[string]string{"APP_OPTS": "-Dq=1 -XX:+UseParallelGC"}}}
		in, err := l.input(b.Context())
		if err == nil {
			_, err = l.render(in, hotspot.JVM{Major: 17, Version: "17.0.15"}, "", 200, hotspot.Build{})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func TestRenderNamesTheFlavor(t *testing.T) {
	java := hotspot.JVM{Major: 17, Version: "17.0.15"}
	cfg := jvm.Config{Flavor: jvm.Flavor{Memory: "1GiB"}, Flavors: []jvm.Profile{{Name: "fat",
		Match: jvm.Match{Env: map[string]jvm.StringList{"ENV": {"fat"}}, Labels: map[string]jvm.StringList{"tier": {"gold"}}}}}}
	env := map[string]string{"ENV": "fat", "MALLOC_ARENA_MAX": "7"}
	gold := &Shared{Labels: func() map[string]string { return map[string]string{"tier": "gold"} }}
	l := &sources{cfg: cfg, shared: gold, serviceEnv: service.Environment{Vars: env}, env: service.Environment{Vars: env}}
	in, err := l.input(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	facts, err := l.render(in, java, "", 0, hotspot.Build{})
	if err != nil || facts.Result.Flavor == nil || facts.Result.Flavor.Name != "fat" || facts.Result.Env[0].Value != "7" {
		t.Errorf("%+v, %v", facts, err)
	}
	cfg.Flavor.Name = "slim"
	if _, err = (&sources{cfg: cfg, shared: gold}).input(t.Context()); err == nil ||
		err.Error() != `cannot size the JVM: cannot use flavor: there is no "slim" among jvm.flavors; there are: fat` {
		t.Error(err)
	}
}

func TestReportIsMasked(t *testing.T) {
	var hide service.Mask
	hide.Add("hunter22")
	from := &Report{JVM: hotspot.JVM{Version: "21"}, Result: jvm.Result{
		Options:  []jvm.Option{{Args: []string{"-Dp=hunter22"}, Replaced: []jvm.Option{{Args: []string{"-Dp=xhunter22"}}}}},
		Warnings: []jvm.Problem{{Message: "hunter22"}}}}
	if text := fmt.Sprintf("%+v", maskedReport(hide, from)); strings.Contains(text, "hunter22") || !strings.Contains(text, "-Dp=***") {
		t.Errorf("masked report: %s", text)
	}
	if from.Result.Options[0].Args[0] != "-Dp=hunter22" {
		t.Error("the command line itself was masked")
	}
}
