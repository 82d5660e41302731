package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// Fingerprints gives one for each service: the same for two configurations of a
// service if and only if Diff asks for no restart between them, a hash over what
// the process was started with. It does not depend on the order of anything, is
// the same in every process, and stays the same when a later stoker knows more
// values that are absent here. cfg may lack its defaults.
//
// They are made of secrets too, if the configuration holds any: they are for
// comparing, and are not to be shown.
func Fingerprints(cfg Config) map[string]string {
	cfg = WithDefaults(cfg)
	own := partsOf(reflect.TypeFor[Service](), serviceEffects())
	jvm := processLines(partsOf(reflect.TypeFor[Config](), jvmEffects()), reflect.ValueOf(cfg))
	out := make(map[string]string, len(cfg.Services))
	for name, s := range cfg.Services {
		lines := processLines(own, reflect.ValueOf(s))
		if s.hasJVM() {
			lines = append(lines, jvm...)
		}
		slices.Sort(lines)
		h := sha256.New()
		for _, line := range lines {
			h.Write([]byte(line))
		}
		out[name] = hex.EncodeToString(h.Sum(nil)[:16])
	}
	return out
}

// processLines gives the values that need a new process and are set, one line each.
func processLines(parts []part, section reflect.Value) []string {
	var out []string
	for _, p := range parts {
		v := fieldAt(section, p.index)
		if p.effect != newProcess || absent(p.path, v) {
			continue
		}
		// JSON sorts the keys of maps, and keeps a value on one line.
		text, err := json.Marshal(v.Interface())
		if err != nil {
			text = fmt.Appendf(nil, "%#v", v.Interface()) // NaN, which no file can hold
		}
		out = append(out, p.path+"="+string(text)+"\n")
	}
	return out
}
