package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stoker-init/stoker/internal/statefile"
)

// maxCopy bounds a kept copy, in bytes: an answer of which every byte is escaped, and a
// bit.
const maxCopy = 6*maxAnswer + 64<<10

// kept is the last good answer to one URL, as it is on the disk.
type kept struct {
	URL string `json:"url"` // masked: for people
	// Key is a hash of the URL with its secrets: whose answer it is.
	Key          string    `json:"key"`
	Time         time.Time `json:"time"` // when the service last gave or confirmed it
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	ContentType  string    `json:"content_type,omitempty"`
	Body         string    `json:"body"`
}

func keyOf(t target) string {
	sum := sha256.Sum256([]byte(t.full))
	return hex.EncodeToString(sum[:])
}

// answer gives the answer of a copy. now bounds its time.
func (k *kept) answer(key string, now time.Time) (Answer, error) {
	if k.Key != key {
		return Answer{}, errors.New("it is that of another URL")
	}
	if k.Time.After(now) { // the clock was set back
		k.Time = now
	}
	return ParseAnswer(k.ContentType, []byte(k.Body))
}

// file is that of a URL's copy.
func (f *Fetcher) file(key string) statefile.File {
	return statefile.File{Path: filepath.Join(f.Dir, key[:32]+".json"), Kind: "last-good-answer", Max: maxCopy}
}

// load gives the copy of a key. ok is false, without an error, where there is none.
func (f *Fetcher) load(key string) (k kept, a Answer, ok bool, err error) {
	if f.Dir == "" {
		return k, a, false, nil
	}
	err = f.file(key).Read(&k)
	if errors.Is(err, fs.ErrNotExist) {
		return k, a, false, nil
	}
	if err == nil {
		a, err = k.answer(key, time.Now())
	}
	return k, a, err == nil, err
}

// save puts a copy in the place of the one before.
func (f *Fetcher) save(k kept) error {
	if f.Dir == "" {
		return errors.New("there is no folder for it")
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	k.Time = k.Time.UTC().Round(0)
	return f.file(k.Key).Write(k)
}
