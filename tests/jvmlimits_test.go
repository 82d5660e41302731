//go:build container

package tests

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// limitsJSON is the part of `stoker limits -o json` that the tests use.
type limitsJSON struct {
	Version         int      `json:"cgroup_version"`
	CPUQuota        *float64 `json:"cpu_quota_cores"`
	CPUSet          *int     `json:"cpuset_count"`
	EffectiveCPUs   int      `json:"effective_cpus"`
	MemoryLimit     *int64   `json:"memory_limit_bytes"`
	EffectiveMemory *int64   `json:"effective_memory_bytes"`
	Sources         map[string]string
	Warnings        []struct{ Code string }
}

func parseLimits(t testing.TB, text string) limitsJSON {
	t.Helper()
	var l limitsJSON
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatalf("stoker limits says %q: %v", text, err)
	}
	return l
}

// String returns one line to compare: quota, cpuset, CPUs, limit and memory in MiB, warnings.
func (l limitsJSON) String() string {
	codes := []string{}
	for _, w := range l.Warnings {
		codes = append(codes, w.Code)
	}
	data, err := json.Marshal([]any{l.CPUQuota, l.CPUSet, l.EffectiveCPUs, mebibytes(l.MemoryLimit), mebibytes(l.EffectiveMemory), codes})
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func mebibytes(n *int64) *float64 {
	if n == nil {
		return nil
	}
	m := float64(*n) / (1 << 20)
	return &m
}

// stoker finds the limits that Docker was given.
func TestLimitsInDocker(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-demo")
	needsCPUs(t, 2)
	for flags, want := range map[string]string{ // as a regular expression for limitsJSON's String
		"--memory 512m --cpus 1.5":                            `\[1.5,\d+,2,512,512,\[\]\]`,
		"--memory 2g --cpus 0.5":                              `\[0.5,\d+,1,2048,2048,\[\]\]`,
		"--memory 3g --cpuset-cpus 0":                         `\[null,1,1,3072,3072,\[\]\]`,
		"--memory 1g --cpus 1.01 --cpuset-cpus 1":             `\[1.01,1,1,1024,1024,\[\]\]`,
		"--memory 1536m --cpu-period 50000 --cpu-quota 62500": `\[1.25,\d+,2,1536,1536,\[\]\]`,
		"": `\[null,\d+,\d+,null,\d[\d.]*,\[\]\]`,
	} {
		t.Run(flags, func(t *testing.T) {
			args := append([]string{"run", "--rm", "--entrypoint", "stoker"}, strings.Fields(flags)...)
			out, err := exec.Command("docker", append(args, "stoker-demo", "limits", "-o", "json")...).Output()
			if err != nil {
				t.Fatalf("docker %q: %v", args, err)
			}
			wantLimits(t, parseLimits(t, string(out)), want)
		})
	}
}

func wantLimits(t testing.TB, got limitsJSON, want string) {
	t.Helper()
	if !regexp.MustCompile("^" + want + "$").MatchString(got.String()) {
		t.Errorf("the limits are %s (from %v), want %s", got, got.Sources, want)
	}
	if got.CPUQuota != nil && got.Sources["cpu_quota_cores"] == "" || got.MemoryLimit != nil && got.Sources["memory_limit_bytes"] == "" {
		t.Errorf("the limits %s do not say where they come from: %v", got, got.Sources)
	}
}

func needsCPUs(t testing.TB, n int) {
	t.Helper()
	if runtime.NumCPU() < n {
		lacking(t, fmt.Sprintf("this machine has less than %d CPUs", n))
	}
}

// On a kernel with cgroup v2: limits of the process's cgroup, of its parent, of both, fractions of
// a CPU, and memory.high, with and without a cgroup namespace. The machine has 2 CPUs and 512 MiB.
func TestMachineLimits(t *testing.T) {
	t.Parallel()
	m := boot(t, `
see() (
	echo 0 >"/sys/fs/cgroup/$1/cgroup.procs"
	tell "$1" "$(stoker limits -o json | tr -d '\n')"
)
cgroup leaf memory.max=200M cpu.max='50000 100000'
cgroup parent memory.max=256M cpu.max='120000 100000'
cgroup parent/open
cgroup parent/tight memory.max=128M cpu.max='10000 100000'
cgroup parent/loose memory.max=400M cpu.max='200000 100000'
cgroup parent/between memory.max=300M
cgroup parent/between/deep memory.max=max cpu.max="110000 100000"
cgroup odd cpu.max='12345 9000'
cgroup high memory.max=300M memory.high=150M
cgroup higher memory.high=150M
cgroup higher/below memory.max=200M
cgroup huge memory.max=64G
cgroup none
for name in leaf parent/open parent/tight parent/loose parent/between/deep odd high higher/below huge none; do
	see "$name"
done
tell namespace "$(in_cgroup parent/tight stoker limits -o json | tr -d '\n')"
`)
	for name, want := range map[string]string{
		"leaf":                `\[0.5,2,1,200,200,\[\]\]`,
		"parent/open":         `\[1.2,2,2,256,256,\[\]\]`,
		"parent/tight":        `\[0.1,2,1,128,128,\[\]\]`,
		"parent/loose":        `\[1.2,2,2,256,256,\[\]\]`,
		"parent/between/deep": `\[1.1,2,2,256,256,\[\]\]`,
		"namespace":           `\[0.1,null,1,128,128,\[\]\]`,
		"odd":                 `\[1.37\d*,2,2,null,4\d\d[\d.]*,\[\]\]`,
		"high":                `\[null,2,2,300,300,\["memory-high-below-max"\]\]`,
		"higher/below":        `\[null,2,2,200,200,\["memory-high-below-max"\]\]`,
		"huge":                `\[null,2,2,null,4\d\d[\d.]*,\[\]\]`,
		"none":                `\[null,2,2,null,4\d\d[\d.]*,\[\]\]`,
	} {
		t.Run(name, func(t *testing.T) {
			got := parseLimits(t, strings.Join(m.values[name], ""))
			wantLimits(t, got, want)
			if got.Version != 2 {
				t.Errorf("the version is %d", got.Version)
			}
		})
	}
}
