package service

import (
	"strings"
	"testing"

	"github.com/stoker-init/stoker/supervisor"
)

func TestEnviron(t *testing.T) {
	list := []string{"A=1", "B=x=y", "A=2", "NOVALUE", "C="}
	if got := strings.Join(EnvironList(EnvironMap(list)), " "); got != "A=2 B=x=y C=" {
		t.Errorf("%q", got)
	}
}

func TestReadyPort(t *testing.T) {
	for _, c := range []struct {
		look supervisor.Look
		want int
	}{
		{supervisor.Look{}, 0},
		{supervisor.Look{HTTP: "http://127.0.0.1:8080/health"}, 8080},
		{supervisor.Look{HTTP: "https://localhost/"}, 443},
		{supervisor.Look{HTTP: "http://localhost/", Socket: "/run/app.sock"}, 0},
		{supervisor.Look{TCP: "127.0.0.1:5432"}, 5432},
		{supervisor.Look{TCP: "127.0.0.1"}, 0},
		{supervisor.Look{HTTP: "http://127.0.0.1:8080/", TCP: "127.0.0.1:5432"}, 8080},
	} {
		if got := readyPort(c.look); got != c.want {
			t.Errorf("%+v: %d, want %d", c.look, got, c.want)
		}
	}
}
