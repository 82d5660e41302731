package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stoker-init/stoker/jvm/hotspot"
)

// Identity is what an archive depends on.
type Identity struct {
	Java      string   `json:"java"`      // version
	Files     []File   `json:"files"`     // of the JVM: libjvm.so, modules and its own archives
	Flags     []string `json:"flags"`     // NAME=VALUE: form of objects, kind of the collector
	Options   []string `json:"options"`   // that say from where classes are loaded: modules, agents
	ClassPath []File   `json:"classpath"` // in its order, with what the manifests of jars add
}

// File identifies a file by what does not change when it is copied into an image. Images that are built reproducibly have one time for all
// files, so a jar has a checksum too.
type File struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`             // bytes; -1: there is none
	ModTime int64  `json:"mtime"`            // Unix seconds: the layers of an image have no fractions
	CRC     uint32 `json:"crc32c,omitempty"` // of a jar: of the names, sizes and checksums in its directory
}

// Key returns 16 hexadecimal digits for an identity.
func (id Identity) Key() string {
	data, _ := json.Marshal(id) // strings and numbers
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// suffix is the end of the name of the archive.
func (id Identity) suffix() string {
	if hotspot.ParseMajor(id.Java) >= FirstCache {
		return ".aot"
	}
	return ".jsa"
}

// difference describes the first difference from the identity of an archive; empty: there is none.
func (id Identity) difference(of Identity) string {
	if id.Java != of.Java {
		return fmt.Sprintf("Java is %s, and was %s", id.Java, of.Java)
	}
	if d := differentFile("the JVM's files", id.Files, of.Files); d != "" {
		return d
	}
	for _, pair := range [][2][]string{{id.Flags, of.Flags}, {id.Options, of.Options}} {
		for _, o := range pair[0] {
			if !slices.Contains(pair[1], o) {
				return o + " is new"
			}
		}
		for _, o := range pair[1] {
			if !slices.Contains(pair[0], o) {
				return o + " is gone"
			}
		}
		if !slices.Equal(pair[0], pair[1]) {
			return "the order of options is another one"
		}
	}
	return differentFile("the class path", id.ClassPath, of.ClassPath)
}

func differentFile(what string, files, of []File) string {
	for k, f := range files {
		at := slices.IndexFunc(of, func(o File) bool { return o.Path == f.Path })
		switch {
		case at < 0:
			return fmt.Sprintf("%s is new in %s", f.Path, what)
		case of[at] != f:
			return f.Path + " has changed"
		case at != k && len(files) == len(of):
			return fmt.Sprintf("the order of %s is another one", what)
		}
	}
	for _, o := range of {
		if !slices.ContainsFunc(files, func(f File) bool { return f.Path == o.Path }) {
			return fmt.Sprintf("%s is gone from %s", o.Path, what)
		}
	}
	return ""
}
