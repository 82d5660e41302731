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

// Fingerprints returns a hash of each service's values that need a restart: it is equal for
// two configurations if and only if Diff needs no restart between them. Values that a later
// version adds, and that are absent, do not change it. cfg does not need its defaults.
//
// The hash covers secrets of the configuration too: it must not be shown.
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
