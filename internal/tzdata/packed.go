//go:build packed_zones

package tzdata

import (
	_ "embed"
	_ "unsafe" // for go:linkname
)

// packed is made by scripts/build.sh.
//
//go:embed zoneinfo.zip.gz
var packed []byte

// registerLoadFromEmbeddedTZData sets the function that package time calls for a zone that no folder of the system has.
//
//go:linkname registerLoadFromEmbeddedTZData time.registerLoadFromEmbeddedTZData
func registerLoadFromEmbeddedTZData(func(string) (string, error))

// Register makes package time use the zones, after the folders of the system. Call it before the first use of a zone.
func Register() {
	registerLoadFromEmbeddedTZData(func(name string) (string, error) { return load(packed, name) })
}
