//go:build !packed_zones

package tzdata

import _ "time/tzdata" // 0.3 MB more than the compressed zones

// Register has nothing to do in this build: time/tzdata registers itself.
func Register() {}
