package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/lazyregexp"
)

var versionPattern = lazyregexp.New(`^(>=|<=|>|<|=)?\s*v?(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?$`)

// parseVersion parses "1.2.3" or "v1.2", perhaps with an operator before it; missing numbers are 0. false: it is no release.
func parseVersion(text string) (operator string, numbers []int, ok bool) {
	m := versionPattern().FindStringSubmatch(text)
	if m == nil {
		return "", nil, false
	}
	for _, digits := range m[2:] {
		n, _ := strconv.Atoi(cmp.Or(digits, "0"))
		numbers = append(numbers, n)
	}
	return m[1], numbers, true
}

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
	_, have, isRelease := parseVersion(version)
	for part := range strings.SplitSeq(condition, ",") {
		operator, want, ok := parseVersion(strings.TrimSpace(part))
		if !ok {
			return false, fmt.Errorf("%q is no version: write >=0.5", strings.TrimSpace(part))
		}
		order := slices.Compare(have, want)
		fits := map[string]bool{">=": order >= 0, "<=": order <= 0, ">": order > 0, "<": order < 0, "=": order == 0}
		if isRelease && !fits[cmp.Or(operator, ">=")] {
			return false, nil
		}
	}
	return true, nil
}
