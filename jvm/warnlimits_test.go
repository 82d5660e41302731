package jvm

import (
	"strings"
	"testing"
)

func TestLimitWarnings(t *testing.T) {
	for name, tc := range map[string]struct {
		limits  Limits
		threads int
		user    string
		want    string // code and numbers; empty: none
	}{
		"no limits":                      {Limits{}, 0, "", ""},
		"pids for a usual Tomcat":        {Limits{PIDs: 267}, 0, "", ""},
		"one too few":                    {Limits{PIDs: 266}, 0, "", "threads-limited 266 267 230 10 27"},
		"fewer connectors":               {Limits{PIDs: 100}, 30, "", ""},
		"more GC threads":                {Limits{PIDs: 267}, 0, "-XX:ParallelGCThreads=9", "threads-limited 267 274 230 17 27"},
		"memory.high above the regions":  {Limits{MemoryHigh: 2 << 30}, 0, "", ""},
		"memory.high below the regions":  {Limits{MemoryHigh: 1 << 30}, 0, "", "memory-throttled 1024 MiB"},
		"memory.high below a fixed heap": {Limits{MemoryHigh: 600 << 20}, 0, "-Xmx500m", "memory-throttled 600 MiB"},
		"memory.high without a limit":    {Limits{MemoryHigh: 1 << 20, Unlimited: true}, 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := Input{Limits: tc.limits, Target: Target{JavaMajor: 17, MaxThreads: tc.threads}}
			in.Limits.CPUs, in.Limits.Memory = 2, 2<<30
			if tc.user != "" {
				in.User = ParseArgs("u", []string{tc.user})
			}
			r, err := Render(in)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, w := range r.Warnings {
				if w.Code == ThreadsLimited || w.Code == MemoryThrottled {
					got += w.Code + ": " + w.Message
				}
			}
			for word := range strings.FieldsSeq(tc.want) {
				if !strings.Contains(got, word) {
					t.Errorf("%q lacks %q", got, word)
				}
			}
			if tc.want == "" && got != "" {
				t.Errorf("warning %q", got)
			}
		})
	}
}

func TestExplainShowsTheLimitsOfTheKernel(t *testing.T) {
	l := Limits{CPUs: 2, Memory: 2 << 30, MemoryHigh: 2 << 30, PIDs: 300}
	r, err := Render(Input{Limits: l, Target: Target{JavaMajor: 17}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Explain(&out, r, l, func(rows [][]string) (text string) {
		for _, row := range rows {
			text += strings.Join(row, " | ") + "\n"
		}
		return text
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"memory.high | 2048 MiB | the kernel throttles above it\n",
		"processes and threads | 300 | pids.max, for 230 threads (connectors and 30 more) of "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}
