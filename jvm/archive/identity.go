package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Identity is what an archive depends on.
type Identity struct {
	Java      string   `json:"java"`      // version
	Files     []File   `json:"files"`     // of the JVM: libjvm.so, modules and its own archives
	Flags     []string `json:"flags"`     // NAME=VALUE, sorted: collector and layout of objects
	Options   []string `json:"options"`   // that say from where classes are loaded: modules, agents
	ClassPath []File   `json:"classpath"` // in its order
}

// File identifies a file by what does not change when it is copied into an image.
type File struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`  // bytes; -1: there is none
	ModTime int64  `json:"mtime"` // Unix seconds: the layers of an image have no fractions
}

// Key returns 16 hexadecimal digits for an identity.
func (id Identity) Key() string {
	data, _ := json.Marshal(id) // strings and numbers
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
