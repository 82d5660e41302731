package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"
)

// steering has the characters that can control a terminal.
const steering = "evil\x1b[2J\x1b]0;title\a\r\u009b31m\u202e\x7f"

// No text of an answer controls the terminal, and JSON output keeps all of it.
func TestHostileAnswers(t *testing.T) {
	word, err := json.Marshal(steering)
	if err != nil {
		t.Fatal(err)
	}
	evil := string(word)
	var refuse atomic.Bool
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case refuse.Load() && path != "/v1/services":
			w.WriteHeader(http.StatusConflict)
			fmt.Fprintf(w, `{"error":{"code":"x","message":%s,"hint":%s}}`, evil, evil)
		case path == "/v1/services":
			fmt.Fprintf(w, `{"version":%s,"config":%s,"services":[{"name":%s,"main":true,"state":"RUNNING","kind":%s,"reason":%s,"command":[%s]}],"plugins":[{"name":%s,"state":%s,"why":%s}]}`,
				evil, evil, evil, evil, evil, evil, evil, evil, evil)
		case path == "/v1/hooks":
			fmt.Fprintf(w, `{"hooks":[{"event":%s,"name":%s,"source":%s,"last":{"why":%s,"outcome":"failed"}}]}`, evil, evil, evil, evil)
		case path == "/v1/plugins":
			fmt.Fprintf(w, `{"plugins":[{"name":%s,"version":%s,"state":"failed","why":%s}]}`, evil, evil, evil)
		case path == "/v1/incidents":
			fmt.Fprintf(w, `{"incidents":[{"number":1,"service":%s,"cause":%s,"reason":%s}]}`, evil, evil, evil)
		case path == "/v1/jobs":
			fmt.Fprintf(w, `{"jobs":[{"id":"1","state":%s,"spec":{"key":%s,"command":[%s]},"exit":{"signal":%s}}]}`, evil, evil, evil, evil)
		case path == "/v1/jobs/x":
			fmt.Fprintf(w, `{"id":"1","state":%s,"reason":%s,"spec":{"key":%s,"command":[%s],"labels":{%s:%s}},"notes":[%s],"artifacts":[{"name":%s}]}`,
				evil, evil, evil, evil, evil, evil, evil, evil)
		case path == "/v1/executor":
			fmt.Fprintf(w, `{"paused":%s,"damage":[%s],"ended":{%s:1}}`, evil, evil, evil)
		case strings.HasPrefix(path, "/v1/incidents/"):
			fmt.Fprintf(w, `{"number":1,"service":%s,"cause":%s,"reason":%s,"options":[%s],"notes":[%s]}`, evil, evil, evil, evil, evil)
		default:
			fmt.Fprint(w, steering+"\n")
		}
	})}
	go func() { _ = server.Serve(l) }() // ends with the listener
	t.Cleanup(func() { _ = server.Close() })
	for _, refused := range []bool{false, true} {
		refuse.Store(refused)
		for _, line := range []string{"status", "status x", "health", "incidents", "incidents 1", "hook list", "hook run ready", "plugin list",
			"plugin show x", "plugin run x y", "job list", "job show x", "job artifacts x", "job status",
			"jvm threads", "jvm flags", "jvm explain", "reload", "start x", "events", "version", "upgrade --check", "__complete start ''"} {
			for _, format := range []string{"", "json"} {
				args := strings.Fields(line)
				if format != "" {
					if strings.HasPrefix(line, "jvm t") || strings.HasPrefix(line, "jvm f") || strings.HasPrefix(line, "health") ||
						strings.HasPrefix(line, "__") || strings.HasPrefix(line, "start") {
						continue
					}
					args = append(args, "-o", format)
				}
				cmd := command(t, "stoker", args...)
				cmd.Env = append(os.Environ(), "STOKER_SOCKET="+socket)
				out, _ := cmd.CombinedOutput()
				shows := slices.Contains([]string{"status", "incidents", "incidents 1", "hook list", "plugin list"}, line)
				if !refused && shows && !strings.Contains(string(out), "evil") {
					t.Errorf("%s: %s", args, out)
				}
				if k := strings.IndexFunc(string(out), func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }); k >= 0 {
					t.Errorf("%s (refused: %v): %q", args, refused, out[k:min(len(out), k+40)])
				}
				if format == "json" && !refused && shows {
					var back any
					if err := json.Unmarshal(out, &back); err != nil || !strings.Contains(fmt.Sprint(back), steering) {
						t.Errorf("%s: %v, %s", args, err, out)
					}
				}
			}
		}
	}
}
