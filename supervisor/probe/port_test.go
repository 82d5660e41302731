package probe

import "testing"

func TestPort(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   int
	}{
		{Config{}, 0},
		{Config{HTTP: HTTP{URL: "http://127.0.0.1:8080/health"}}, 8080},
		{Config{HTTP: HTTP{URL: "https://localhost/"}}, 443},
		{Config{HTTP: HTTP{URL: "http://localhost/", Socket: "/run/app.sock"}}, 0},
		{Config{TCP: "127.0.0.1:5432"}, 5432},
		{Config{TCP: "127.0.0.1"}, 0},
		{Config{HTTP: HTTP{URL: "http://127.0.0.1:8080/"}, TCP: "127.0.0.1:5432"}, 8080},
	} {
		if got := c.config.Port(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.config, got, c.want)
		}
	}
}
