package config

import (
	"strings"
	"testing"
)

// What a hint about a flag or a variable tells to write is right as it stands.
func TestForeignSettings(t *testing.T) {
	file := write(t, map[string]string{"stoker.yaml": "services: {my-app: {command: [x]}, other: {command: [x]}}\n"})
	for given, want := range map[string]string{
		"restart=on-failure":   "write --set services.my-app.restart.policy=on-failure",
		"restart=on-failure:3": "write --set services.my-app.restart.policy=on-failure --set services.my-app.restart.limit.starts=3 --set services.my-app.restart.limit.retry_every=0s",
		"autorestart=true":     "write --set services.my-app.restart.policy=always",
		"startretries=2":       "write --set services.my-app.restart.limit.starts=2 --set services.my-app.restart.limit.retry_every=0s",
		"exitcodes=0,2":        "write --set 'services.my-app.success_codes=[0, 2]'",
		"working_dir=/srv":     "write --set services.my-app.dir=/srv",
		"environment=A=1":      "write --set services.my-app.env.A=1",
		"ExecStart=a b":        `write --set 'services.my-app.command=["a", "b"]'`,
		"ExecStartPost=a":      `write --set 'hooks.started=[{name: my-app, command: ["a"], services: [my-app]}]'`,
		"stop=5s":              "write --set services.my-app.stop.timeout=5s",
		"live.interval=5s":     "write --set services.my-app.live.every=5s",
		"killasgroup=true":     "remove it; ",
		"comand=[x]":           `did you mean "command"?`,
	} {
		_, err := Load(Options{File: file, Set: []string{"services.my-app." + given}})
		if err == nil || !strings.Contains(err.Error(), "("+want) {
			t.Errorf("--set %s: %v\nwant %s", given, err, want)
		}
		var flags []string
		for _, part := range strings.Split(strings.TrimPrefix(want, "write "), "--set ")[1:] {
			flags = append(flags, strings.Trim(strings.TrimSpace(part), "'"))
		}
		if given == "live.interval=5s" {
			flags = append(flags, "services.my-app.live.tcp=h:1")
		}
		if l, err := Load(Options{File: file, Set: flags}); err != nil {
			t.Errorf("%s: the hint leads to %q: %v %v", given, flags, err, l.Warnings)
		}
	}
	for given, want := range map[string]string{
		"RESTART=no":           "STOKER_SERVICES_MY_APP_RESTART_POLICY=never",
		"AUTORESTART=true":     "STOKER_SERVICES_MY_APP_RESTART_POLICY=always",
		"STOP_GRACE_PERIOD=9s": "STOKER_SERVICES_MY_APP_STOP_TIMEOUT=9s",
		"USR=app":              "did you mean STOKER_SERVICES_MY_APP_USER?",
	} {
		l, err := Load(Options{File: file, Environ: []string{"STOKER_SERVICES_MY_APP_" + given}})
		if err != nil || len(l.Warnings) == 0 || !strings.Contains(l.Warnings[0].Hint, want) {
			t.Errorf("%s: %v %v, want %s", given, err, l, want)
		}
		if _, err := Load(Options{File: file, Environ: []string{strings.TrimPrefix(want, "write ")}}); err != nil {
			t.Errorf("%s leads to %s: %v", given, want, err)
		}
	}
}
