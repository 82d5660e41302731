package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The plugins of this repository are valid.
func TestShippedPlugins(t *testing.T) {
	dirs, err := filepath.Glob("../../plugins/*")
	if err != nil || len(dirs) < 3 {
		t.Fatalf("%q, %v", dirs, err)
	}
	for _, dir := range dirs {
		var out bytes.Buffer
		if err := validatePlugin(&out, filepath.Clean(dir)); err != nil {
			t.Errorf("%s: %v: %s", dir, err, &out)
		}
	}
}

// The hook of the plugin heapdump removes only dumps and makes no folder, also where another
// user can write to the folder of the dumps or to the one around it.
func TestHeapDumpRoom(t *testing.T) {
	room, err := filepath.Abs("../../plugins/heapdump/bin/room")
	if err != nil {
		t.Fatal(err)
	}
	const stamp = "web-20200101T00000"
	for _, tc := range []struct {
		name, prepare string // in the folder that holds plugin and dumps
		want          string // of the output
		left, removed string
	}{
		{"dumps", "mkdir dumps; touch -d @1 dumps/" + stamp + "1Z.hprof; touch dumps/" + stamp + "2Z.hprof", "are kept",
			"dumps/" + stamp + "2Z.hprof", "dumps/" + stamp + "1Z.hprof"},
		{"folder of a dump's name", "mkdir -p dumps/" + stamp + "{1,2}Z.hprof; touch dumps/" + stamp + "1Z.hprof/plugin.yaml", "",
			"plugin/plugin.yaml", "none"},
		{"line feed", "mkdir dumps; touch dumps/" + stamp + "2Z.hprof; touch -d @1 $'dumps/" + stamp + "1Z\nplugin.yaml.hprof'", "",
			"plugin/plugin.yaml.hprof", "none"},
		{"it is made", "true", "", "dumps", "none"},
		{"others may write around", "chmod 777 .", "is missing, and", "plugin", "dumps"},
		{"they may not remove", "chmod 1777 .", "", "dumps", "none"},
		{"a link on the way", "mkdir elsewhere; ln -s elsewhere around; export STOKER_PARAM_DIR=$PWD/around/dumps", "is missing, and",
			"elsewhere", "elsewhere/dumps"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			script := `set -e; mkdir plugin; touch plugin/plugin.yaml{,.hprof}; printf '#!/bin/sh\necho heap 1 MiB\n' >stoker; chmod +x stoker
` + tc.prepare + "\ncd plugin; exec \"$ROOM\" \"$STOKER\""
			cmd := command(t, "bash", "-c", script)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "ROOM="+room, "STOKER="+dir+"/stoker", "STOKER_OUT="+dir+"/out", "STOKER_SERVICE=web",
				"STOKER_PARAM_DIR="+dir+"/dumps", "STOKER_PARAM_KEEP=1", "STOKER_PARAM_FACTOR=1")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), tc.want) {
				t.Errorf("%v: %s", err, out)
			}
			if _, err := os.Stat(filepath.Join(dir, tc.left)); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if _, err := os.Stat(filepath.Join(dir, tc.removed)); err == nil {
				t.Errorf("%s is there: %s", tc.removed, out)
			}
		})
	}
}
