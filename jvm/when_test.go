package jvm

import (
	"encoding/json"
	"testing"
)

func TestWhenMatches(t *testing.T) {
	env, labels := map[string]string{"ENV": "fat", "EMPTY": ""}, map[string]string{"tier": "gold"}
	for _, tc := range []struct {
		name string
		when When
		why  string
	}{
		{"nothing", When{}, ""},
		{"env", When{Terms: Terms{Env: map[string]StringList{"ENV": {"uat", "fat"}}}}, ""},
		{"other env", When{Terms: Terms{Env: map[string]StringList{"ENV": {"uat", "pro"}}}}, "env ENV is not uat or pro"},
		{"unset", When{Terms: Terms{Env: map[string]StringList{"NONE": {"x"}}}}, "env NONE is not set"},
		{"empty is a value", When{Terms: Terms{Env: map[string]StringList{"EMPTY": {""}}}}, ""},
		{"all must hold", When{Terms: Terms{Env: map[string]StringList{"ENV": {"fat"}}, Labels: map[string]StringList{"tier": {"silver"}}}},
			"label tier is not silver"},
		{"label", When{Terms: Terms{Labels: map[string]StringList{"tier": {"gold"}}}}, ""},
		{"flavor", When{Terms: Terms{Flavor: StringList{"small", "tiny"}}}, ""},
		{"other flavor", When{Terms: Terms{Flavor: StringList{"large"}}}, "the flavor is small, not large"},
		{"not", When{Not: Terms{Env: map[string]StringList{"ENV": {"pro"}}}}, ""},
		{"not at all", When{Not: Terms{Env: map[string]StringList{"ENV": {"fat", "pro"}}, Flavor: StringList{"small"}}},
			"not where env ENV is fat or pro and the flavor is small"},
		{"only a part of not", When{Not: Terms{Env: map[string]StringList{"ENV": {"fat"}}, Labels: map[string]StringList{"tier": {"silver"}}}},
			""},
	} {
		if ok, why := tc.when.Matches(env, labels, "small"); why != tc.why || ok != (tc.why == "") {
			t.Errorf("%s: %v %q, want %q", tc.name, ok, why, tc.why)
		}
	}
	if _, why := (When{Terms: Terms{Flavor: StringList{""}}}).Matches(nil, nil, ""); why != "no flavor is named" {
		t.Errorf("without a flavor: %q", why)
	}
}

// An item without a condition is text in JSON, as in versions without conditions: its
// fingerprint stays the same.
func TestSourcesAsJSON(t *testing.T) {
	old := `{"Options":["-Xmx1g"],"Files":["/app/x.opts"],"Env":null}`
	var c LayerConfig
	if err := json.Unmarshal([]byte(old), &c); err != nil || c.Options[0].Option != "-Xmx1g" || c.Files[0].File != "/app/x.opts" {
		t.Fatalf("%+v, %v", c, err)
	}
	if data, err := json.Marshal(c); err != nil || string(data) != old {
		t.Errorf("%s, %v; want %s", data, err, old)
	}
	c.Files[0].When.Env = map[string]StringList{"ENV": {"fat"}}
	c.Options[0].When.Not.Flavor = StringList{"small"}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back LayerConfig
	if err := json.Unmarshal(data, &back); err != nil || back.Files[0].When.Env["ENV"][0] != "fat" ||
		back.Options[0].When.Not.Flavor[0] != "small" {
		t.Errorf("%s came back as %+v, %v", data, back, err)
	}
}
