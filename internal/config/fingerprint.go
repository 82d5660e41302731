package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// Fingerprint is the same for two configurations of a service if and only if
// Diff asks for no restart between them: a hash over what the process was
// started with. It does not depend on the order of anything, is the same in
// every process, and stays the same when a later stoker knows more values that
// are absent here. cfg may lack its defaults. It is empty for a service that
// does not exist.
//
// It is made of secrets too, if the configuration holds any: it is for
// comparing, and is not to be shown.
func Fingerprint(cfg Config, service string) string {
	cfg = WithDefaults(cfg)
	s, ok := cfg.Services[service]
	if !ok {
		return ""
	}
	var lines []string
	enter := func(section reflect.Value, table map[string]effect) {
		for path, e := range table {
			v := valueAt(section, path)
			if e != newProcess || absent(path, v) {
				continue
			}
			// JSON sorts the keys of maps, and keeps a value on one line.
			text, err := json.Marshal(v.Interface())
			if err != nil {
				text = fmt.Appendf(nil, "%#v", v.Interface()) // NaN, which no file can hold
			}
			lines = append(lines, path+"="+string(text)+"\n")
		}
	}
	enter(reflect.ValueOf(s), serviceEffects())
	if s.hasJVM() {
		enter(reflect.ValueOf(cfg), jvmEffects())
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, line := range lines {
		h.Write([]byte(line))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
