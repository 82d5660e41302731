package service

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/initproto"
)

// EnvironMap splits NAME=VALUE pairs; the last one of a name wins.
func EnvironMap(environ []string) map[string]string {
	out := make(map[string]string, len(environ))
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out
}

// EnvironList is the inverse of EnvironMap, sorted.
func EnvironList(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// ProcessID returns the id of a process that is no service. The start time distinguishes it from those of an earlier supervisor.
func ProcessID(kind string) string { return fmt.Sprintf("%s@%d", kind, initproto.BootNow()) }
