package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// TestLiteral: each value looks as if something would be expanded in it. What the hint
// tells to do is done, and is right.
func TestLiteral(t *testing.T) {
	const javaService, tomcatService = "kind: java, java: {jar: x}", "kind: tomcat"
	var report strings.Builder
	for _, tc := range []struct{ service, value string }{ // value: what to set instead of the literal
		{`command: [java, -jar, "${APP_HOME}/app.jar", 'a b', "--port=$PORT"]`, ""},
		{`command: ["$JAVA_HOME/bin/java", -version]`, ""},
		{`command: [echo, 'it''s "${X}"']`, ""},
		{`command: [x], ready: {exec: [curl, -f, "http://127.0.0.1:${PORT}/"]}`, ""},
		{`command: [x], live: {exec: [curl, "${URL}"]}`, ""},
		{`command: [x], stop: {command: [kill, "$STOKER_PID"]}`, ""},
		{`command: [x], ready: {http: "http://127.0.0.1:${PORT}/health"}`, "http://127.0.0.1:1/health"},
		{`command: [x], ready: {http: "http://127.0.0.1/${NAME}/health"}`, "http://127.0.0.1:1/health"},
		{`command: [x], ready: {tcp: "127.0.0.1:${PORT}"}`, "127.0.0.1:1"},
		{`command: [x], ready: {file: "${TMPDIR}/ready"}`, "/tmp/ready"},
		{`command: [x], user: "${RUN_AS}"`, "app"},
		{`command: [x], dir: "$HOME"`, "/app"},
		{`command: [x], dir: "/opt/${VERSION}/bin"`, "/opt"},
		{`command: [x], env_files: ["/etc/${NAME}.env"]`, "[/etc/x.env]"},
		{`command: [x], env_files: ["${DIR}/x.env"]`, "[/etc/x.env]"},
		{`command: [x], secrets: {PASSWORD: "/run/${NAME}"}`, "/run/x"},
		{`command: [x], output: {file: {path: "/var/log/${HOSTNAME}.log"}}`, "/var/log/x.log"},
		{`kind: java, java: {jar: "${APP_HOME}/app.jar"}`, "/app.jar"},
		{`kind: java, java: {jar: x, home: "$JAVA_HOME"}`, "/java"},
		{`kind: java, java: {main: X, classpath: [a, "${LIB}/b.jar"]}`, "[a, b]"},
		{`kind: java, java: {jar: x, args: ["--server.port=${PORT}"]}`, "[x]"},
		{`kind: tomcat, tomcat: {home: "${CATALINA_HOME}"}`, "/tomcat"},
		{`kind: tomcat, tomcat: {base: "/srv/${NAME}"}`, "/srv"},
		{`kind: tomcat, tomcat: {java: "${JAVA_HOME}"}`, "/java"},
	} {
		p := onlyOne(t, tc.service)
		fmt.Fprintf(&report, "%s\n    %s\n", tc.service, strings.TrimPrefix(p.String(), p.File+":1:"))
		if variable := regexp.MustCompile(`STOKER_[A-Z_]+$`).FindString(p.Hint); variable != "" {
			file := write(t, map[string]string{"stoker.yaml": "services: {a: {" + tc.service + "}}\n"})
			l, err := Load(Options{File: file, Environ: []string{variable + "=" + tc.value}})
			if err != nil || len(l.Warnings) > 0 {
				t.Errorf("%s: with %s=%s: %v %v", tc.service, variable, tc.value, err, l.Warnings)
			}
			continue
		}
		line := strings.TrimPrefix(p.Hint, "write ")
		section, _, _ := strings.Cut(strings.TrimPrefix(p.Path, "services.a."), ".")
		if section != "command[2]" && !strings.HasPrefix(section, "command") {
			line = "command: [x], " + section + ": {" + line + "}"
		}
		if l, err := loadText(t, "services: {a: {"+line+"}}\n"); err != nil || len(l.Warnings) > 0 {
			t.Errorf("%s: the hint leads to %s: %v %v", tc.service, line, err, l.Warnings)
		}
	}
	golden(t, "testdata/literal.golden", report.String())

	for _, service := range []string{`command: [sh, -c, 'exec java -jar "${APP_HOME}/app.jar"']`,
		`command: [/bin/bash, -euc, 'echo $X ${Y}', "$0"]`, `command: [env, sh, -c, "$X"]`,
		`command: [awk, '{print $NF}']`, `command: [grep, 'x$']`, `command: [x, '$', '${}', '$1', '${1}', 'a$B']`,
		`command: [x], env: {A: "${B}"}`, `command: [x], ready: {log: '^${X}$'}`,
		javaService, tomcatService} {
		if l, err := loadText(t, "services: {a: {"+service+"}}\n"); err != nil || len(l.Warnings) > 0 {
			t.Errorf("%s: %v %v", service, err, l.Warnings)
		}
	}
	l, err := loadText(t, "services: {a: {command: [x]}}\nhooks: {ready: [{name: x, command: [curl, '${URL}']}, {name: y, url: "+
		"'http://h/${URL}'}]}\n")
	if err != nil || len(l.Warnings) != 1 || l.Warnings[0].Hint != `write command: ["sh", "-c", "exec curl \"${URL}\""]` {
		t.Errorf("a hook: %v %v", err, l.Warnings)
	}
}

// onlyOne is the one problem or warning that a service has.
func onlyOne(t *testing.T, service string) layeredyaml.Problem {
	t.Helper()
	l, err := loadText(t, "services: {a: {"+service+"}}\n")
	var ps layeredyaml.Problems
	errors.As(err, &ps)
	if all := slices.Concat(ps, l.Warnings); len(all) == 1 {
		return all[0]
	}
	t.Fatalf("%s: not one problem: %v %v", service, err, l.Warnings)
	return layeredyaml.Problem{}
}
