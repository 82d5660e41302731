package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
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
	own, shared := fingerprintOf(reflect.TypeFor[Service](), serviceEffects()), fingerprintOf(reflect.TypeFor[Config](), jvmEffects())
	jvm := shared.lines(reflect.ValueOf(cfg))
	out := make(map[string]string, len(cfg.Services))
	for name, s := range cfg.Services {
		lines := own.lines(reflect.ValueOf(s))
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

// fingerprinted are the values of a section that make a fingerprint, by path. They
// are looked up once: a hundred services have them all.
type fingerprinted map[string][][]int

func fingerprintOf(section reflect.Type, table map[string]effect) fingerprinted {
	out := fingerprinted{}
	for path, e := range table {
		if e != newProcess {
			continue
		}
		t := section
		for key := range strings.SplitSeq(path, ".") {
			f, ok := fieldNamed(t, key)
			if !ok {
				break // the test of the tables keeps this from happening
			}
			out[path] = append(out[path], f.index)
			t = f.typ
		}
	}
	return out
}

// lines gives those that are set, one line each.
func (p fingerprinted) lines(section reflect.Value) []string {
	var out []string
	for path, indexes := range p {
		v := section
		for _, index := range indexes {
			v = v.FieldByIndex(index)
		}
		if absent(path, v) {
			continue
		}
		// JSON sorts the keys of maps, and keeps a value on one line.
		text, err := json.Marshal(v.Interface())
		if err != nil {
			text = fmt.Appendf(nil, "%#v", v.Interface()) // NaN, which no file can hold
		}
		out = append(out, path+"="+string(text)+"\n")
	}
	return out
}
