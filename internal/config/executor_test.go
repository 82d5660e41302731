package config

import (
	"strings"
	"testing"
)

// What brings jobs needs an executor.
func TestMesosNeedsSlots(t *testing.T) {
	for text, want := range map[string]string{
		"{mesos: {on_agent_lost: exit}}":             "executor.mesos: there is no executor to run its jobs",
		"{slots: 1, mesos: {on_agent_lost: stay}}":   "executor.mesos.on_agent_lost",
		"{slots: 1, mesos: {}}":                      "",
		"{slots: 1, mesos: {on_agent_lost: detach}}": "",
	} {
		_, err := loadText(t, "services: {app: {command: [sleep, \"1\"]}}\nexecutor: "+text+"\n")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
