package service

import (
	"strings"
	"testing"

	"github.com/stoker-init/stoker/supervisor/probe"
)

func TestEnviron(t *testing.T) {
	list := []string{"A=1", "B=x=y", "A=2", "NOVALUE", "C="}
	if got := strings.Join(EnvironList(EnvironMap(list)), " "); got != "A=2 B=x=y C=" {
		t.Errorf("%q", got)
	}
}

func TestReadyPort(t *testing.T) {
	for _, c := range []struct {
		config probe.Config
		want   int
	}{
		{probe.Config{}, 0},
		{probe.Config{HTTP: probe.HTTP{URL: "http://127.0.0.1:8080/health"}}, 8080},
		{probe.Config{HTTP: probe.HTTP{URL: "https://localhost/"}}, 443},
		{probe.Config{HTTP: probe.HTTP{URL: "http://localhost/", Socket: "/run/app.sock"}}, 0},
		{probe.Config{TCP: "127.0.0.1:5432"}, 5432},
		{probe.Config{TCP: "127.0.0.1"}, 0},
		{probe.Config{HTTP: probe.HTTP{URL: "http://127.0.0.1:8080/"}, TCP: "127.0.0.1:5432"}, 8080},
	} {
		if got := readyPort(c.config); got != c.want {
			t.Errorf("%+v: %d, want %d", c.config, got, c.want)
		}
	}
}
