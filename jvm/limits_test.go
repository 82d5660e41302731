package jvm

import "testing"

func TestChangesOfLimits(t *testing.T) {
	half, more := 1.5, 1.7
	before := Limits{CPUs: 2, CPUQuota: &half, Memory: 1 << 30}
	for _, tc := range []struct {
		name string
		now  Limits
		want string
	}{
		{"the same, of another file", Limits{CPUs: 2, CPUQuota: &half, Memory: 1 << 30, MemorySource: "x", PIDs: 9}, ""},
		{"memory", Limits{CPUs: 2, CPUQuota: &half, Memory: 2 << 30}, "the memory limit is 2 GiB now (it was 1 GiB)"},
		{"odd memory and CPUs", Limits{CPUs: 3, Memory: 700*mib + 512<<10},
			"the memory limit is 700.5 MiB now (it was 1 GiB), the number of CPUs is 3 now (it was 2)"},
		{"quota", Limits{CPUs: 2, CPUQuota: &more, Memory: 1 << 30}, "the CPU quota is 1.7 cores now (it was 1.5)"},
		{"none", Limits{CPUs: 2, CPUQuota: &half, Memory: 16 << 30, Unlimited: true}, "there is no memory limit now (it was 1 GiB)"},
	} {
		if got := tc.now.Changes(before); got != tc.want || (got == "") != (tc.now.Key() == before.Key()) {
			t.Errorf("%s: %q, want %q; %s", tc.name, got, tc.want, tc.now.Key())
		}
	}
	unlimited := Limits{CPUs: 2, CPUQuota: &half, Memory: 16 << 30, Unlimited: true}
	if got := before.Changes(unlimited); got != "the memory limit is 1 GiB now (there was none)" {
		t.Error(got)
	}
	if got := (Budget{{Region: "heap", Bytes: 5}, {Region: "margin", Bytes: 2}}).Needed(); got != 5 {
		t.Errorf("%d bytes are needed", got)
	}
}
