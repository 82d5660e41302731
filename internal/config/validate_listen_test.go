package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/listen"
)

func TestListenIsTakenOver(t *testing.T) {
	l, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": `
services:
  web:
    command: [x]
    listen:
      - {name: http, tcp: ":8080"}
      - {name: app, unix: /run/app.sock, backlog: 7, mode: "0660", owner: "www-data:33"}
`})})
	if err != nil {
		t.Fatal(err)
	}
	want := []listen.Config{{Name: "http", TCP: ":8080"}, {Name: "app", Unix: "/run/app.sock", Backlog: 7, Mode: "0660", Owner: "www-data:33"}}
	if got := l.Config.Services["web"].Listen; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestListenIsChecked(t *testing.T) {
	const two = "command: [x], listen: [{name: a, tcp: ':80'}, %]"
	for _, tc := range []struct{ service, want string }{
		{"command: [x], listen: [{tcp: ':80'}]", "web.listen[0].name: a socket needs a name"},
		{"command: [x], listen: [{name: 'a:b', tcp: ':80'}]", `web.listen[0].name: "a:b" is not the name of a socket`},
		{strings.Replace(two, "%", "{name: a, tcp: ':81'}", 1), `web.listen[1].name: there is another socket "a"`},
		{"command: [x], listen: [{name: a}]", "web.listen[0]: a socket needs an address"},
		{"command: [x], listen: [{name: a, tcp: ':80', unix: /a}]", "web.listen[0].unix: tcp and unix are both set"},
		{"command: [x], listen: [{name: a, tcp: '80'}]", `web.listen[0].tcp: "80" is not an IP address and a port`},
		{"command: [x], listen: [{name: a, tcp: 'localhost:80'}]", `web.listen[0].tcp: "localhost:80" is not an IP address and a port`},
		{"command: [x], listen: [{name: a, tcp: ':0'}]", `web.listen[0].tcp: ":0" is not an IP address and a port`},
		{"command: [x], listen: [{name: a, tcp: ':80', backlog: 0}]", "web.listen[0].backlog: 0 is not above 0"},
		{"command: [x], listen: [{name: a, tcp: ':80', mode: '0600'}]", "web.listen[0].mode: only a unix socket has a file with mode"},
		{"command: [x], listen: [{name: a, tcp: ':80', owner: root}]", "web.listen[0].owner: only a unix socket has a file with owner"},
		{"command: [x], listen: [{name: a, unix: run}]", `web.listen[0].unix: "run" is not an absolute path`},
		{"command: [x], listen: [{name: a, unix: /run/a, mode: '0999'}]", `web.listen[0].mode: "0999" is not the mode of a socket`},
		{"command: [x], listen: [{name: a, port: 80}]", "web.listen[0].port: unknown key"},
		{"kind: tomcat, listen: [{name: a, tcp: ':80'}, {name: b, tcp: ':81'}]", "web.listen[1]: a service of kind tomcat has one socket at most"},
		{strings.Replace(two, "%", "{name: b, tcp: '127.0.0.1:80'}", 1), `web.listen[1].tcp: "a" of service web listens there too`},
		{"command: [x], listen: [{name: a, tcp: '127.0.0.1:7070'}]", "web.listen[0].tcp: stoker's API listens there ("},
	} {
		_, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": "services: {web: {" + tc.service +
			"}}\napi: {listen: '127.0.0.1:7070'}\n"})})
		if err == nil || !strings.Contains(err.Error(), "services."+tc.want) {
			t.Errorf("%s: got %v, want %s", tc.service, err, tc.want)
		}
	}
}

func TestSocketsThatCollide(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{":80", ":80", true},
		{":80", ":81", false},
		{":80", "127.0.0.1:80", true},
		{"[::]:80", ":80", true},
		{"0.0.0.0:80", "[::]:80", false},
		{"0.0.0.0:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:80", "[::1]:80", false},
		{"[::1]:80", "[0::1]:80", true},
		{"wrong", "wrong", false},
		{"/run/a", "/run/a", true},
		{"/run/a", "/run/b", false},
		{"/run/a", ":80", false},
	} {
		config := func(address string) listener {
			if strings.HasPrefix(address, "/") {
				return listener{Config: listen.Config{Unix: address}}
			}
			return listener{Config: listen.Config{TCP: address}}
		}
		a, b := config(tc.a), config(tc.b)
		if a.collides(b) != tc.want || b.collides(a) != tc.want {
			t.Errorf("%s and %s: %v, %v, want %v", tc.a, tc.b, a.collides(b), b.collides(a), tc.want)
		}
	}
}

// A probe of a port that stoker itself keeps open proves nothing.
func TestProbesOfOwnSockets(t *testing.T) {
	for _, tc := range []struct{ probe, want string }{
		{"ready: {tcp: '127.0.0.1:80'}", "services.web.ready.tcp: it says nothing: stoker keeps that port open"},
		{"live: {tcp: '[::1]:80'}", "services.web.live.tcp: it says nothing"},
		{"ready: {tcp: '127.0.0.1:81'}", ""},
		{"ready: {http: 'http://127.0.0.1:80/'}", ""},
	} {
		got := warned(t, "services: {web: {command: [x], listen: [{name: a, tcp: ':80'}], "+tc.probe+"}}\n")
		if tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.probe, got, tc.want)
		}
	}
}
