package credential

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Parameters of one-time codes (RFC 6238), those that every authenticator knows.
const (
	stepSeconds = 30
	codeDigits  = 6
)

var secretCode = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewTOTP returns a new secret of one-time codes, base32.
func NewTOTP() string {
	var b [20]byte
	rand.Read(b[:])
	return secretCode.EncodeToString(b[:])
}

// TOTPAddress is what an authenticator reads from a QR code.
func TOTPAddress(secret, issuer, account string) string {
	q := url.Values{"secret": {secret}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {fmt.Sprint(codeDigits)}, "period": {fmt.Sprint(stepSeconds)}}
	return "otpauth://totp/" + url.PathEscape(issuer+":"+account) + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// CheckTOTP returns the step that a code is of: the present one, or one beside it,
// since clocks differ. Only steps after used count, so that a code works once.
func CheckTOTP(secret, code string, now time.Time, used int64) (step int64, ok bool) {
	code = strings.Join(strings.Fields(code), "")
	present := now.Unix() / stepSeconds
	for step := present - 1; step <= present+1; step++ {
		if want := TOTP(secret, step); want != "" && step > used && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			return step, true
		}
	}
	return 0, false
}

// TOTP is the code of a step; empty if the secret is none.
func TOTP(secret string, step int64) string {
	key, err := secretCode.DecodeString(secret)
	if err != nil || len(key) == 0 {
		return ""
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", codeDigits, n%1_000_000)
}

// RecoveryCodes is how many are made at once.
const RecoveryCodes = 10

// NewRecoveryCodes returns codes of 80 bits that replace a one-time code, each once,
// and what is kept of them.
func NewRecoveryCodes() (codes, hashes []string) {
	for range RecoveryCodes {
		c := strings.ToLower(rand.Text()[:16])
		codes = append(codes, c[:4]+"-"+c[4:8]+"-"+c[8:12]+"-"+c[12:])
		hashes = append(hashes, HashRecovery(c))
	}
	return codes, hashes
}

// HashRecovery is what is kept of a recovery code, however it is typed.
func HashRecovery(code string) string {
	return HashSecret(strings.ToLower(strings.Join(strings.FieldsFunc(code, func(r rune) bool { return r == '-' || r == ' ' }), "")))
}
