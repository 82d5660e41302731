package cgroup

import (
	"path"
	"strconv"
)

// readPIDs reads the smallest pids.max of the chain, which has the same name in both versions. The root cgroup has none.
func (r *reader) readPIDs(c chain) {
	l := &r.limits
	for _, dir := range c.dirs {
		file := path.Join(dir, "pids.max")
		text, ok := r.readOr(PIDsUnreadable, file)
		if !ok || text == "max" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil || n < 0:
			r.warn(PIDsMalformed, "%s holds %s, not a number of processes", file, shorten(text))
		case l.PIDsLimit == nil || n < *l.PIDsLimit:
			l.PIDsLimit, l.Sources.PIDsLimit = &n, file
		}
	}
}
