package tpm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// ErrMalformed is returned for a sealed file that is none, or was damaged or
// altered: put back the copy of a backup of this machine.
var ErrMalformed = errors.New("malformed sealed key")

// ErrOtherTPM is returned for what this TPM has not sealed: use the machine that
// sealed it. A TPM that was cleared since is another one; then the key is lost.
var ErrOtherTPM = errors.New("sealed by another TPM, or this one was cleared")

// sealedHead is the first line of a sealed file. Three lines of base64 follow:
//
//	public PUBLIC    of the object that holds a random AES key, TPMT_PUBLIC
//	private PRIVATE  its other half, encrypted by the TPM, TPM2B_PRIVATE without its size
//	data DATA        nonce (12 bytes) and AES-256-GCM of the secret under that key
//
// A TPM seals 128 bytes at most, and a key file may be longer: so it seals the
// key of a cipher.
const sealedHead = "meterseal-sealed/v1"

// sealedAttributes: bound to this TPM and its storage key, opened without a
// password, no matter how often somebody has guessed another.
var sealedAttributes = tpm2.TPMAObject{FixedTPM: true, FixedParent: true, UserWithAuth: true, NoDA: true}

// Seal returns the text of a file that only this TPM turns back into secret.
//
// It is sealed under the storage primary key of the owner (P-256), to the TPM and
// not to the state of its registers: every update of firmware, kernel or boot
// loader would change these and lock the customer out. The bytes between
// processor and TPM are encrypted, so that listening to the bus shows nothing.
func (t *TPM) Seal(secret []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	public, private, err := t.sealKey(key[:])
	if err != nil {
		return nil, t.failed("seal", err)
	}
	b := base64.StdEncoding
	return fmt.Appendf(nil, "%s\npublic %s\nprivate %s\ndata %s\n", sealedHead,
		b.EncodeToString(public), b.EncodeToString(private), b.EncodeToString(gcm(key[:]).Seal(nil, nil, secret, nil))), nil
}

// Unseal returns the secret of a sealed file. Errors: ErrMalformed, ErrOtherTPM,
// ErrUnavailable.
func (t *TPM) Unseal(sealed []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	public, private, data, err := parseSealed(sealed)
	if err != nil {
		return nil, err
	}
	key, err := t.unsealKey(public, private)
	if errors.Is(err, tpm2.TPMRCIntegrity) {
		return nil, fmt.Errorf("%w: %s", ErrOtherTPM, t.path)
	}
	if err != nil {
		return nil, t.failed("unseal", err)
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("%w: a key of %d bytes", ErrMalformed, len(key))
	}
	secret, err := gcm(key).Open(nil, nil, data, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: its data were altered", ErrMalformed)
	}
	return secret, nil
}

func (t *TPM) sealKey(key []byte) (public, private []byte, err error) {
	parent, err := t.storage()
	if err != nil {
		return nil, nil, err
	}
	defer t.flush(parent.Handle)
	r, err := tpm2.Create{
		ParentHandle: tpm2.AuthHandle{Handle: parent.Handle, Name: parent.Name, Auth: parent.session(tpm2.AESEncryption(128, tpm2.EncryptIn))},
		InSensitive:  tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: key})}},
		InPublic:     tpm2.New2B(tpm2.TPMTPublic{Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: sealedAttributes}),
	}.Execute(t.t)
	if err != nil {
		return nil, nil, err
	}
	return r.OutPublic.Bytes(), r.OutPrivate.Buffer, nil
}

func (t *TPM) unsealKey(public, private []byte) ([]byte, error) {
	parent, err := t.storage()
	if err != nil {
		return nil, err
	}
	defer t.flush(parent.Handle)
	object, err := tpm2.Load{
		ParentHandle: tpm2.AuthHandle{Handle: parent.Handle, Name: parent.Name, Auth: tpm2.PasswordAuth(nil)},
		InPrivate:    tpm2.TPM2BPrivate{Buffer: private},
		InPublic:     tpm2.BytesAs2B[tpm2.TPMTPublic](public),
	}.Execute(t.t)
	if err != nil {
		return nil, err
	}
	defer t.flush(object.ObjectHandle)
	r, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: object.ObjectHandle, Name: object.Name, Auth: parent.session(tpm2.AESEncryption(128, tpm2.EncryptOut))}}.Execute(t.t)
	if err != nil {
		return nil, err
	}
	return r.OutData.Buffer, nil
}

// storageKey is the storage primary key, loaded.
type storageKey struct {
	Handle tpm2.TPMHandle
	Name   tpm2.TPM2BName
	Public tpm2.TPMTPublic
}

func (t *TPM) storage() (*storageKey, error) {
	r, err := t.primary(tpm2.TPMRHOwner, tpm2.ECCSRKTemplate)
	if err != nil {
		return nil, err
	}
	public, err := r.OutPublic.Contents()
	if err != nil {
		t.flush(r.ObjectHandle)
		return nil, err
	}
	return &storageKey{r.ObjectHandle, r.Name, *public}, nil
}

// session is as long as one command and encrypts its first parameter, in or
// out, with a secret that only the holder of the storage key can read.
func (k *storageKey) session(encrypted tpm2.AuthOption) tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, 16, encrypted, tpm2.Salted(k.Handle, k.Public))
}

// gcm never fails: the key has 32 bytes, the nonce is random and stands before
// the data.
func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func parseSealed(sealed []byte) (public, private, data []byte, err error) {
	text, ended := strings.CutSuffix(string(sealed), "\n")
	lines := strings.Split(text, "\n")
	if !ended || len(lines) != 4 || lines[0] != sealedHead {
		return nil, nil, nil, fmt.Errorf("%w: not four lines after %q", ErrMalformed, sealedHead)
	}
	for i, f := range []struct {
		name string
		to   *[]byte
	}{{"public", &public}, {"private", &private}, {"data", &data}} {
		value, ok := strings.CutPrefix(lines[i+1], f.name+" ")
		if *f.to, err = base64.StdEncoding.DecodeString(value); !ok || err != nil || len(*f.to) == 0 {
			return nil, nil, nil, fmt.Errorf("%w: line %d is not %s", ErrMalformed, i+2, f.name)
		}
	}
	return public, private, data, nil
}
