package export

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// qrQuiet is the empty margin that a reader needs, in modules.
const qrQuiet = 4

// qrCode is a QR code with its margin: level M, in the alphanumeric set, which
// holds parts and typed codes.
type qrCode struct {
	dark func(x, y int) bool
	size int // modules of a side
}

func newQR(text string) (qrCode, error) {
	c, err := qr.Encode(text, qr.M, qr.AlphaNumeric)
	if err != nil {
		return qrCode{}, fmt.Errorf("QR code of %d characters: %w", len(text), err)
	}
	side := c.Bounds().Dx()
	return qrCode{size: side + 2*qrQuiet, dark: func(x, y int) bool {
		x, y = x-qrQuiet, y-qrQuiet
		if x < 0 || y < 0 || x >= side || y >= side {
			return false
		}
		r, _, _, _ := c.At(x, y).RGBA()
		return r == 0
	}}, nil
}

// WriteQRPNG writes the QR code of a part, or of a typed code, as PNG with the
// given number of pixels per module, its margin included.
func WriteQRPNG(w io.Writer, text string, pixels int) error {
	c, err := newQR(text)
	if err != nil {
		return err
	}
	pixels = min(max(pixels, 1), 64)
	side := c.size * pixels
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if c.dark(x/pixels, y/pixels) {
				img.Pix[y*img.Stride+x] = 1
			}
		}
	}
	return png.Encode(w, img)
}

// WriteQRText writes the QR code for a terminal, two modules a character. It
// draws what is light, for light letters on a dark ground; inverted what is
// dark.
func WriteQRText(w io.Writer, text string, inverted bool) error {
	c, err := newQR(text)
	if err != nil {
		return err
	}
	var out strings.Builder
	for y := 0; y < c.size; y += 2 {
		for x := range c.size {
			upper, lower := c.dark(x, y) == inverted, y+1 < c.size && c.dark(x, y+1) == inverted
			switch {
			case upper && lower:
				out.WriteRune('█')
			case upper:
				out.WriteRune('▀')
			case lower:
				out.WriteRune('▄')
			default:
				out.WriteByte(' ')
			}
		}
		out.WriteByte('\n')
	}
	_, err = io.WriteString(w, out.String())
	return err
}
