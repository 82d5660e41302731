package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/stoker-init/stoker/internal/layeredyaml"
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
	own := leavesOf[Service]()
	jvm := setLines(leavesOf[Config](), changeJVM, reflect.ValueOf(cfg))
	out := make(map[string]string, len(cfg.Services))
	for name, s := range cfg.Services {
		lines := setLines(own, changeRestart, reflect.ValueOf(s))
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

// setLines returns one line for each value that is set and needs change.
func setLines(leaves []layeredyaml.Leaf, change string, section reflect.Value) []string {
	var out []string
	for _, l := range leaves {
		v, set := l.Get(section)
		if l.Change != change || !set {
			continue
		}
		// JSON sorts the keys of maps, and keeps a value on one line.
		text, err := json.Marshal(v.Interface())
		if err != nil {
			text = fmt.Appendf(nil, "%#v", v.Interface()) // NaN, which no file can hold
		}
		out = append(out, l.Path+"="+string(text)+"\n")
	}
	return out
}
