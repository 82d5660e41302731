package plugin

import (
	"strings"
	"testing"
)

func sampleScope() scope {
	return scope{params: map[string]string{"port": "6300", "odd": `a "b" ${params.port} $x`, "empty": ""},
		env:    map[string]string{"HOME": "/root", "LINES": "a\nb"},
		labels: map[string]string{"app.id": "1001"}, pluginDir: "/p/jacoco", stateDir: "/s/jacoco", stoker: "/bin/stoker"}
}

func TestExpand(t *testing.T) {
	for _, tc := range []struct {
		text, want string
		bad        string // part of the error
	}{
		{"plain $HOME $ {x} }", "plain $HOME $ {x} }", ""},
		{"a${params.port}b${params.port}", "a6300b6300", ""},
		{"${params.odd}", `a "b" ${params.port} $x`, ""}, // a value is data
		{"${plugin_dir}/lib:${state_dir}:${stoker}", "/p/jacoco/lib:/s/jacoco:/bin/stoker", ""},
		{"${label.app.id}.${env.HOME}", "1001./root", ""},
		{"${label.none:-none}${env.NONE:-}x", "nonex", ""},
		{"${params.empty:-given}", "given", ""},
		{"${params.empty}", "", ""},
		{"$${params.port}", "${params.port}", ""},
		{"$$${params.port}", "$${params.port}", ""},
		{"${label.none}", "", "label none is not set"},
		{"${env.NONE}", "", "env NONE is not set"},
		{"${env.LINES}", "", "more than one line"},
		{"${PORT}", "", "is no reference"},
		{"${params}", "", "is no reference"},
		{"${plugin_dir.x}", "", "is no reference"},
		{"${", "", "not closed"},
		{"${params.port", "", "not closed"},
		{"${}", "", "is no reference"},
	} {
		got, err := sampleScope().expand(tc.text)
		if got != tc.want || (err == nil) != (tc.bad == "") || err != nil && !strings.Contains(err.Error(), tc.bad) {
			t.Errorf("%s: %q %v, want %q %s", tc.text, got, err, tc.want, tc.bad)
		}
	}
}

func TestRequestReferences(t *testing.T) {
	variables := map[string]string{"OWN": "1"}
	got, err := sampleScope().request(`{"port": "${params.odd}", "pid": ${STOKER_PID}, "x": "$${y}"}`, variables)
	if want := `{"port": "${PLUGIN_REF_2}", "pid": ${STOKER_PID}, "x": "$${y}"}`; err != nil || got != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
	if variables["PLUGIN_REF_2"] != `a "b" ${params.port} $x` {
		t.Errorf("variables %v", variables)
	}
}

func TestCheckText(t *testing.T) {
	params := map[string]Param{"port": {}, "token": {Secret: true}}
	for _, tc := range []struct {
		text string
		use  usage
		want string
	}{
		{"${params.port}", inArgument, ""},
		{"${params.prot}", inArgument, `there is no parameter "prot" (there are: port, token)`},
		{"${params.token}", inArgument, "STOKER_PARAM_TOKEN"},
		{"${params.token}", inVariable, ""},
		{"${params.token}", inRequest, ""},
		{"${STOKER_PID}", inRequest, ""},
		{"${STOKER_PID}", inArgument, "is no reference"},
		{"${params.port}", inDefault, "cannot have a reference to a parameter"},
		{"${plugin_dir}", inDefault, ""},
	} {
		err := checkText(tc.text, params, tc.use)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.text, err, tc.want)
		}
	}
}

// FuzzExpand: a text that passes the check is expanded, or a value is not set. A value is inserted
// unchanged.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"${params.port}", "$${x}", "a${env.X:-${}b", "${label.a.b:-}}", "$$$${", "${params.odd}${params.odd}"} {
		f.Add(seed, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		if strings.ContainsAny(value, "\n\r\x00") {
			return
		}
		s := sampleScope()
		s.params["odd"] = value
		if checkText(text, map[string]Param{"port": {}, "odd": {}, "empty": {}}, inArgument) != nil {
			return
		}
		got, err := s.expand(text)
		if err != nil && !strings.Contains(err.Error(), "is not set") && !strings.Contains(err.Error(), "more than one line") {
			t.Errorf("%q passes the check, and: %v", text, err)
		}
		if !strings.Contains(text, "${") && err == nil && got != text {
			t.Errorf("%q became %q", text, got)
		}
		if text == "<${params.odd}>" && got != "<"+value+">" {
			t.Errorf("%q became %q", value, got)
		}
	})
}
