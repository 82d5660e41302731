package jvm

import (
	"slices"
	"strings"
	"testing"
)

// Netty is put under the cap where java.nio is open to it, and the heap of malloc is trimmed where the JVM can.
func TestNativeOptions(t *testing.T) {
	const netty, trim = "-Dio.netty.maxDirectMemory=0", "-XX:TrimNativeHeapInterval=60000"
	printed := map[string]FlagInfo{"TrimNativeHeapInterval": {"uint", "product"}}
	open := "--add-opens=java.base/java.nio=ALL-UNNAMED"
	for _, tc := range []struct {
		name   string
		target Target
		user   string
		memory int64 // MiB
		want   string
	}{
		{"Java 8", Target{JavaMajor: 8}, "", 1024, netty},
		{"Java 8 without a limit", Target{JavaMajor: 8}, "", 0, ""},
		{"Java 8, a cap without a limit", Target{JavaMajor: 8}, "-XX:MaxDirectMemorySize=64m", 0, netty},
		{"the user's own", Target{JavaMajor: 8}, "-Dio.netty.maxDirectMemory=1", 1024, "-Dio.netty.maxDirectMemory=1"},
		{"open by default", Target{JavaMajor: 15}, "", 1024, netty},
		{"closed", Target{JavaMajor: 17}, "--add-opens=java.base/java.nio.channels=ALL-UNNAMED", 1024, ""},
		{"opened", Target{JavaMajor: 17}, open, 1024, netty},
		{"opened in two words", Target{JavaMajor: 17}, "--add-opens java.base/java.nio=io.netty.common", 1024, netty},
		{"both", Target{JavaMajor: 25}, open, 1024, netty + " " + trim},
		{"21 with experimental trimming", Target{JavaMajor: 21, JavaVersion: "21.0.3"}, "", 1024, ""},
		{"21", Target{JavaMajor: 21, JavaVersion: "21.0.4"}, "", 1024, trim},
		{"22", Target{JavaMajor: 22, JavaVersion: "22.0.2"}, "", 1024, ""},
		{"22, printed", Target{JavaMajor: 22, JavaVersion: "22.0.2", Flags: printed}, "", 1024, trim},
		{"25 without the flag", Target{JavaMajor: 25, Flags: map[string]FlagInfo{}}, "", 1024, ""},
		{"25 with musl", Target{JavaMajor: 25, Libc: "musl"}, "", 1024, ""},
		{"25, the user's own", Target{JavaMajor: 25}, "-XX:TrimNativeHeapInterval=0", 1024, "-XX:TrimNativeHeapInterval=0"},
		{"25 without a limit", Target{JavaMajor: 25}, "", 0, trim},
	} {
		r, err := Render(Input{Limits: Limits{CPUs: 2, Memory: tc.memory * mib}, JVMAsked: true, Target: tc.target,
			User: ParseArgs("user", strings.Fields(tc.user))})
		if err != nil || r.Argv() == nil {
			t.Errorf("%s: %v, %v", tc.name, err, r.Err())
		}
		got := slices.DeleteFunc(r.Argv(), func(text string) bool {
			return !strings.Contains(text, "netty.max") && !strings.Contains(text, "TrimNative")
		})
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// An experimental flag is unlocked.
func TestNativeTrimUnlocks(t *testing.T) {
	r, err := Render(Input{Limits: Limits{CPUs: 2, Memory: 1024 * mib}, JVMAsked: true,
		Target: Target{JavaMajor: 21, JavaVersion: "21.0.1", Flags: map[string]FlagInfo{"TrimNativeHeapInterval": {"uint", "experimental"}}}})
	if err != nil {
		t.Fatal(err)
	}
	texts := r.Argv()
	if !slices.Contains(texts, "-XX:+UnlockExperimentalVMOptions") || !slices.Contains(texts, "-XX:TrimNativeHeapInterval=60000") {
		t.Errorf("%q", texts)
	}
}
