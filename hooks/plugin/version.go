package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/lazyregexp"
)

var (
	comparison = lazyregexp.New(`^(>=|<=|>|<|=)?\s*(\S+)$`)
	release    = lazyregexp.New(`^v?(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?$`)
)

// CheckRequires checks a condition on stoker's version.
func CheckRequires(condition string) error {
	_, err := satisfies("0", condition)
	return err
}

// satisfies reports whether a version satisfies a condition such as ">=0.5, <2". A version that is no
// release (dev, a git describe) satisfies all.
func satisfies(version, condition string) (bool, error) {
	if condition == "" {
		return true, nil
	}
	have, isRelease := parseVersion(version)
	for part := range strings.SplitSeq(condition, ",") {
		m := comparison().FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return false, fmt.Errorf("%q is no condition: write >=0.5", strings.TrimSpace(part))
		}
		want, ok := parseVersion(m[2])
		if !ok {
			return false, fmt.Errorf("%q is no version: write >=0.5", m[2])
		}
		order := slices.Compare(have, want)
		fits := map[string]bool{">=": order >= 0, "<=": order <= 0, ">": order > 0, "<": order < 0, "=": order == 0}
		if isRelease && !fits[cmp.Or(m[1], ">=")] {
			return false, nil
		}
	}
	return true, nil
}

// parseVersion parses "1.2.3" or "v1.2"; missing numbers are 0. false: it is no release.
func parseVersion(text string) ([]int, bool) {
	m := release().FindStringSubmatch(text)
	if m == nil {
		return nil, false
	}
	out := make([]int, 3)
	for k := range out {
		out[k], _ = strconv.Atoi(cmp.Or(m[k+1], "0")) // digits
	}
	return out, true
}
