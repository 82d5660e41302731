package launch

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// A comparison because of limits runs neither the JVM nor setenv.sh: the Launcher has no Manager that could.
func TestQuietComparison(t *testing.T) {
	l := New(&service.Launcher{Config: config.Service{Java: config.Java{Main: "Main"}}}, jvm.Config{}, new(Shared), nil)
	java := filepath.Join(t.TempDir(), "java")
	if err := os.WriteFile(java, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	p := &plan{how: planning{compare: true, quiet: true}, java: hotspot.JVM{Java: java}, env: &service.Environment{},
		sources: &sources{cfg: l.JVM, limits: jvm.Limits{Memory: 1 << 30, CPUs: 1}}}
	if err := l.checked(t.Context(), p); err != nil || len(p.options) == 0 || len(p.warnings) > 0 {
		t.Errorf("%q, %q, %v", p.options, p.warnings, err)
	}
	k := &tomcatKind{Launcher: l}
	l.shared.setenvs.Store(l.Name, tomcat.SetenvResult{Vars: map[string]string{"A": "1"}})
	got, err := k.setenv(t.Context(), tomcat.Install{}, &service.Start{Environment: &service.Environment{}}, p.how)
	if err != nil || got.Vars["A"] != "1" {
		t.Errorf("%v, %v", got, err)
	}
	if raise := (planning{compare: true}).oomRaise(); raise != firstVictim || (planning{}).oomRaise() != 0 {
		t.Errorf("helper programs of a comparison have the OOM score adjustment %d", raise)
	}
}

func TestMayUse(t *testing.T) {
	for _, tc := range []struct {
		limits jvm.Limits
		want   int64
		high   bool
	}{
		{jvm.Limits{}, math.MaxInt64, false},
		{jvm.Limits{Memory: 8 << 30, Unlimited: true}, math.MaxInt64, false},
		{jvm.Limits{Memory: 8 << 30, Unlimited: true, MemoryHigh: 1 << 30}, 1 << 30, true},
		{jvm.Limits{Memory: 2 << 30, MemoryHigh: 1 << 30}, 1 << 30, true},
		{jvm.Limits{Memory: 2 << 30, MemoryHigh: 3 << 30}, 2 << 30, false},
	} {
		if got, high := mayUse(tc.limits); got != tc.want || high != tc.high {
			t.Errorf("%+v: %d, %t", tc.limits, got, high)
		}
	}
}

func TestNextSize(t *testing.T) {
	for _, tc := range []struct {
		before, now jvm.Limits
		want        bool
	}{
		{jvm.Limits{Memory: 1000, CPUs: 1}, jvm.Limits{Memory: 1000, CPUs: 8}, false},
		{jvm.Limits{Memory: 1000}, jvm.Limits{Memory: 1099}, false},
		{jvm.Limits{Memory: 1000}, jvm.Limits{Memory: 901}, false},
		{jvm.Limits{Memory: 1000}, jvm.Limits{Memory: 1100}, true},
		{jvm.Limits{Memory: 1000}, jvm.Limits{Memory: 900}, true},
		{jvm.Limits{Memory: 1000}, jvm.Limits{Memory: 1000, Unlimited: true}, true},
	} {
		if got := nextSize(tc.before, tc.now); got != tc.want {
			t.Errorf("%+v, %+v: %t", tc.before, tc.now, got)
		}
	}
}
