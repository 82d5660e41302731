package access

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// bareIdentity is an Identity without its methods.
type bareIdentity Identity

// keptIdentity is an Identity as JSON, for the next supervisor.
type keptIdentity struct {
	bareIdentity
	Token, Login string   // hashes in hexadecimal; empty: none
	Chain        [][]byte // certificates
}

// MarshalJSON writes what the next supervisor needs to check the identity again. Of a token it is the hash.
func (id Identity) MarshalJSON() ([]byte, error) {
	k := keptIdentity{bareIdentity: bareIdentity(id)}
	if p := id.proof; p != nil {
		if p.token != (hash{}) {
			k.Token = hex.EncodeToString(p.token[:])
		}
		if p.login != (hash{}) {
			k.Login = hex.EncodeToString(p.login[:])
		}
		for _, c := range p.chain {
			k.Chain = append(k.Chain, c.Raw)
		}
	}
	return json.Marshal(k)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (id *Identity) UnmarshalJSON(text []byte) error {
	var k keptIdentity
	if err := json.Unmarshal(text, &k); err != nil {
		return err
	}
	*id = Identity(k.bareIdentity)
	if k.Token == "" && k.Login == "" && len(k.Chain) == 0 {
		return nil
	}
	id.proof = &proof{}
	var err error
	if k.Token != "" {
		id.proof.token, err = parseHash(k.Token)
	}
	if k.Login != "" && err == nil {
		id.proof.login, err = parseHash(k.Login)
	}
	for _, der := range k.Chain {
		c, certErr := x509.ParseCertificate(der)
		if certErr != nil {
			err = certErr
			break
		}
		id.proof.chain = append(id.proof.chain, c)
	}
	if err != nil {
		return fmt.Errorf("cannot read the credential of %s: %w", id.Name, err)
	}
	return nil
}
