package xmlfile

import (
	"fmt"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

// encodingNamed finds an encoding by its name. The indexes of names in golang.org/x/text are not used: they are made at each start of
// the program, used or not.
func encodingNamed(name string) (encoding.Encoding, error) {
	wanted := charsetKey(name)
	for _, all := range [][]encoding.Encoding{{unicode.UTF8}, charmap.All, japanese.All, korean.All, simplifiedchinese.All,
		traditionalchinese.All} {
		for _, e := range all {
			if known, ok := e.(fmt.Stringer); ok && charsetKey(known.String()) == wanted {
				return e, nil
			}
		}
	}
	return nil, fmt.Errorf("the encoding %q is not known", name)
}

// charsetKey is the same for the names that golang.org/x/text, IANA, and Java have for an encoding.
func charsetKey(name string) string {
	key := strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' {
			return c
		}
		return -1
	}, strings.ToLower(name))
	key = strings.Replace(key, "codepage", "", 1)
	switch key {
	case "ascii", "usascii", "ansix341968", "iso646us", "latin1", "l1", "cp819", "ibm819":
		return "iso88591"
	case "latin2", "l2":
		return "iso88592"
	case "latin5", "l5":
		return "iso88599"
	case "latin9":
		return "iso885915"
	case "sjis", "xsjis", "mskanji", "ms932", "windows31j", "cswindows31j", "cp932":
		return "shiftjis"
	case "xeucjp", "eucjis":
		return "eucjp"
	case "gb2312", "euccn", "cp936", "ms936", "windows936", "xgbk":
		return "gbk"
	case "big5hkscs", "xbig5", "ms950", "cp950":
		return "big5"
	case "ksc5601", "ksc56011987", "ms949", "cp949", "windows949":
		return "euckr"
	case "tis620":
		return "windows874"
	case "cp858", "ibm00858", "ibm858":
		return "windows858"
	}
	if page, ok := strings.CutPrefix(key, "cp"); ok {
		if strings.HasPrefix(page, "125") {
			return "windows" + page
		}
		return "ibm" + strings.TrimPrefix(page, "0")
	}
	return strings.Replace(key, "ibm0", "ibm", 1)
}
