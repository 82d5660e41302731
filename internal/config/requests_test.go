package config

import (
	"strings"
	"testing"
	"time"
)

func TestRequestsOfAStop(t *testing.T) {
	for services, want := range map[string]string{
		"{a: {command: [x], stop: {requests: 1s}}}":                       "services.a.stop.requests: only a service of kind tomcat",
		"{a: {command: [x], stop: {requests: 0s}}}":                       "",
		"{a: {kind: tomcat, stop: {requests: 7s}}}":                       "services.a.stop.requests: 7s is more than stop.timeout",
		"{a: {kind: tomcat, stop: {requests: 6s}}}":                       "",
		"{a: {kind: tomcat, stop: {requests: -1s}}}":                      "services.a.stop.requests",
		"{a: {kind: tomcat, stop: {requests: 20s, timeout: 30s}}}":        "",
		"{a: {kind: tomcat, stop: {timeout: 30s}}}\nstop: {timeout: 40s}": "",
	} {
		_, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": "services: " + services + "\n"})})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", services, err, want)
		}
	}
	for timeout, want := range map[string]time.Duration{"": 2 * time.Second, "4s": 0, "1s": 0, "5s": time.Second, "30s": 15 * time.Second} {
		text := "services: {a: {kind: tomcat}, b: {command: [x]}}\nmain: a\n"
		if timeout != "" {
			text = "services: {a: {kind: tomcat, stop: {timeout: " + timeout + "}}, b: {command: [x]}}\nmain: a\nstop: {timeout: 40s}\n"
		}
		l, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": text})})
		if err != nil {
			t.Fatal(err)
		}
		if a, b := l.Config.Services["a"].Stop.Requests, l.Config.Services["b"].Stop.Requests; a == nil || *a != want || b != nil {
			t.Errorf("defaults for the timeout %q: %v, %v", timeout, a, b)
		}
	}
}
