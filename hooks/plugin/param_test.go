package plugin

import (
	"strings"
	"testing"
)

func text(s string) *string { return &s }

func TestParamCheck(t *testing.T) {
	for _, tc := range []struct {
		name  string
		p     Param
		value string
		want  string // part of the error; empty: none
	}{
		{"text", Param{}, `anything "at" all`, ""},
		{"empty is nothing", Param{Type: TypePort}, "", ""},
		{"empty and required", Param{Required: true}, "", "must not be empty"},
		{"two lines", Param{}, "a\nb", "more than one line"},
		{"carriage return", Param{}, "a\rb", "more than one line"},
		{"NUL", Param{}, "a\x00", "more than one line"},
		{"long", Param{}, strings.Repeat("x", 5000), "more than 4096"},
		{"pattern", Param{Pattern: "[a-z]+"}, "abc", ""},
		{"the whole must match", Param{Pattern: "[a-z]+|x"}, "abc1", "does not match"},
		{"int", Param{Type: TypeInt}, "-7", ""},
		{"no int", Param{Type: TypeInt}, "1.5", "not a whole number"},
		{"octal", Param{Type: TypeInt}, "007", "not written as 7"},
		{"plus", Param{Type: TypeInt}, "+7", "not written as 7"},
		{"below", Param{Type: TypeInt, Min: text("5")}, "4", "below 5"},
		{"at the bound", Param{Type: TypeInt, Min: text("5"), Max: text("5")}, "5", ""},
		{"above", Param{Type: TypeInt, Max: text("5")}, "6", "above 5"},
		{"port", Param{Type: TypePort}, "65535", ""},
		{"no port", Param{Type: TypePort}, "65536", "not a port"},
		{"port 0", Param{Type: TypePort}, "0", "not a port"},
		{"duration", Param{Type: TypeDuration, Max: text("1m")}, "60s", ""},
		{"no duration", Param{Type: TypeDuration}, "60", "not a duration"},
		{"long duration", Param{Type: TypeDuration, Max: text("1m")}, "61s", "above 1m"},
		{"bool", Param{Type: TypeBool}, "false", ""},
		{"no bool", Param{Type: TypeBool}, "yes", "not true or false"},
		{"path", Param{Type: TypePath}, "/a/b c", ""},
		{"no path", Param{Type: TypePath}, "a/b", "absolute path"},
		{"path up", Param{Type: TypePath}, "/a/../etc", "absolute path"},
		{"enum", Param{Type: TypeEnum, Values: []string{"a", "b"}}, "b", ""},
		{"no enum", Param{Type: TypeEnum, Values: []string{"a", "b"}}, "c", "not one of a, b"},
		{"a secret is not repeated", Param{Type: TypeInt, Secret: true}, "geheim", "which is secret"},
	} {
		err := tc.p.Check(tc.value)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || tc.p.Secret && strings.Contains(err.Error(), tc.value)):
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

func TestParamProblems(t *testing.T) {
	for _, tc := range []struct {
		p    Param
		want string // keys with faults
	}{
		{Param{}, ""},
		{Param{Type: "number"}, "type"},
		{Param{Type: TypeEnum}, "values"},
		{Param{Values: []string{"a"}}, "values"},
		{Param{Pattern: "("}, "pattern"},
		{Param{Type: TypeInt, Pattern: "1"}, "pattern"},
		{Param{Min: text("1"), Max: text("2")}, "max min"},
		{Param{Type: TypePort, Min: text("0"), Max: text("x")}, "max min"},
		{Param{Type: TypePort, Default: text("http")}, "default"},
		{Param{Type: TypePort, Default: text("${env.PORT:-1}")}, ""},
		{Param{Required: true, Default: text("")}, ""},
	} {
		var keys []string
		for _, f := range tc.p.Problems() {
			keys = append(keys, f.Key)
		}
		if got := strings.Join(keys, " "); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.p, got, tc.want)
		}
	}
}

func TestSatisfies(t *testing.T) {
	for _, tc := range []struct {
		version, condition string
		ok, bad            bool
	}{
		{"v0.5.0", ">=0.5", true, false},
		{"0.4.9", ">=0.5", false, false},
		{"1.10.0", ">=1.9", true, false},
		{"1.0.0", ">=0.5, <1", false, false},
		{"0.9", ">=0.5, <1", true, false},
		{"0.5.1", "=0.5", false, false},
		{"0.5.0", "0.5", true, false},
		{"0.5", ">0.5", false, false},
		{"0.5", "<=0.5.0", true, false},
		{"dev", ">=99", true, false},
		{"v0.5.0-3-gabcdef", ">=99", true, false},
		{"1", "", true, false},
		{"1", "soon", false, true},
		{"1", ">=", false, true},
		{"1", ">=0.5,", false, true},
		{"1", "~1", false, true},
	} {
		ok, err := satisfies(tc.version, tc.condition)
		if ok != tc.ok || (err != nil) != tc.bad {
			t.Errorf("%s of %s: %v %v", tc.condition, tc.version, ok, err)
		}
	}
}
