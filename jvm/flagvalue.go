package jvm

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// misspelt tells why the HotSpot of a version would reject how a flag is written; empty: it would not.
func (f flagFacts) misspelt(arg string, major int) string {
	name, form, value := cutFlag(arg)
	switch {
	case f.typ == anyFlag:
		return ""
	case f.typ == boolFlag && (form == "=" || form == ""):
		return fmt.Sprintf("it is switched with + or -, such as -XX:+%s", name)
	case f.typ == boolFlag && strings.Contains(arg, "="):
		return "a flag with + or - has no value"
	case f.typ == boolFlag:
		return ""
	case form != "=":
		return fmt.Sprintf("it needs a value: -XX:%s=VALUE", name)
	}
	return f.badValue(name, value, major)
}

// badValue checks a value by the flag's type and range.
func (f flagFacts) badValue(name, value string, major int) string {
	number := 0.0
	if quoted(value) && f.typ != textFlag && f.typ != listFlag {
		return "the quotes are part of the value; leave them out"
	}
	switch f.typ {
	case intFlag, countFlag:
		n, err := unsignedSize(strings.TrimPrefix(value, "-"))
		if err != nil {
			return fmt.Sprintf("%q is no whole number", value)
		}
		number = float64(n)
		if value[0] == '-' {
			number = -number
		}
		switch {
		case number < 0 && f.typ == countFlag:
			return "the value cannot be negative"
		case f.typ == intFlag && n > math.MaxInt64 && major != 8: // which takes it for -1
			return fmt.Sprintf("the value is at most %d", math.MaxInt64)
		}
	case floatFlag:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Sprintf("%q is no number", value)
		}
		number = n
	default:
		return ""
	}
	for _, r := range flagRanges {
		if (number < float64(r.least) || number > float64(r.most)) && (r.strict || major != 8) && slices.Contains(strings.Fields(r.flags), name) {
			return fmt.Sprintf("the value is from %d to %d", r.least, r.most)
		}
	}
	return ""
}

// flagRanges are those of flags that people set, from -XX:+PrintFlagsRanges, tried on each version of buildsListed.
var flagRanges = []struct {
	least, most uint64
	strict      bool // Java 8 has the range too
	flags       string
}{
	{0, 100, true, "MaxRAMPercentage MinRAMPercentage InitialRAMPercentage MinHeapFreeRatio MaxHeapFreeRatio MaxMetaspaceFreeRatio " +
		"InitiatingHeapOccupancyPercent G1NewSizePercent G1MaxNewSizePercent TargetSurvivorRatio"},
	{0, 100, false, "G1HeapWastePercent"}, {0, 50, false, "G1ReservePercent"}, {0, 4, false, "TieredStopAtLevel"},
	{0, 99, true, "MinMetaspaceFreeRatio"}, {0, 16, true, "MaxTenuringThreshold"},
	{1, math.MaxUint64, true, "MaxRAMFraction MinRAMFraction InitialRAMFraction SurvivorRatio CICompilerCount MaxMetaspaceSize"},
	{0, math.MaxInt64, true, "MaxDirectMemorySize"},
}
