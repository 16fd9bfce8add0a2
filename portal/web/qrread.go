package web

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // formats that are read
	_ "image/png"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/makiuchi-d/gozxing"
	multi "github.com/makiuchi-d/gozxing/multi/qrcode"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/makiuchi-d/gozxing/qrcode/detector"

	"github.com/meterseal/meterseal/portal"
)

// Bounds of a picture, which a stranger may have made to hurt. It is refused by its
// head, before its pixels are unpacked.
const (
	pictureBytesMax  = 16 << 20
	picturePixelsMax = 16 << 20 // a telephone takes 12 million
	pictureTime      = 5 * time.Second
	// Corners that are looked at, three of which make a code: the search tries
	// every three of them.
	cornersOfMany = 40  // where several codes are looked for
	cornersOfOne  = 250 // where one is
	// pictureSide is what a larger picture is made smaller to, in pixels.
	pictureSide = 2000
)

func badPicture(format string, args ...any) error {
	return &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusUnprocessableEntity, FixBy: "courier", Message: fmt.Sprintf(format, args...),
		Hint: "take a JPEG or PNG picture of at most 16 million pixels that shows the whole code, sharp and from the front"}
}

// readQR returns the texts of the QR codes in a picture; none: it shows none. A
// picture that takes longer than within to unpack is refused.
func readQR(r io.ReadSeeker, within time.Duration) ([]string, error) {
	head, _, err := image.DecodeConfig(io.LimitReader(r, pictureBytesMax))
	if err != nil {
		return nil, badPicture("the picture cannot be read: %v", err)
	}
	if head.Width <= 0 || head.Height <= 0 || head.Width > picturePixelsMax/head.Height {
		return nil, badPicture("the picture has %d by %d pixels", head.Width, head.Height)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	img, _, err := image.Decode(&hurried{r: io.LimitReader(r, pictureBytesMax), until: time.Now().Add(within)})
	if err != nil {
		return nil, badPicture("the picture cannot be read: %v", err)
	}
	grey := greysOf(img)
	texts := grey.codes()
	if side := max(grey.width, grey.height); side > pictureSide { // noise goes, and small codes with it
		texts = append(texts, grey.shrink((side+pictureSide-1)/pictureSide).codes()...)
	}
	slices.Sort(texts)
	return slices.Compact(texts), nil
}

// hurried ends a reader after some time: a picture of few bytes can be drawn over
// and over again.
type hurried struct {
	r     io.Reader
	until time.Time
}

func (h *hurried) Read(b []byte) (int, error) {
	if time.Now().After(h.until) {
		return 0, errors.New("it takes too long")
	}
	return h.r.Read(b)
}

// greys are the pixels of a picture, 0 is black.
type greys struct {
	pixels        []byte
	width, height int
}

// greysOf takes the colours away.
func greysOf(img image.Image) greys {
	b := img.Bounds()
	g := greys{make([]byte, b.Dx()*b.Dy()), b.Dx(), b.Dy()}
	for y := range g.height {
		row := g.pixels[y*g.width : (y+1)*g.width]
		switch img := img.(type) {
		case *image.YCbCr: // photos: brightness is there already
			copy(row, img.Y[img.YOffset(b.Min.X, b.Min.Y+y):])
		case *image.Gray:
			copy(row, img.Pix[img.PixOffset(b.Min.X, b.Min.Y+y):])
		default:
			for x := range row {
				c := color.NRGBAModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
				light := (int(c.R) + 2*int(c.G) + int(c.B)) / 4
				row[x] = byte((light*int(c.A) + 255*(255-int(c.A))) / 255) // on white paper
			}
		}
	}
	return g
}

// shrink makes one pixel of n by n.
func (g greys) shrink(n int) greys {
	out := greys{width: g.width / n, height: g.height / n}
	out.pixels = make([]byte, out.width*out.height)
	for y := range out.height {
		for x := range out.width {
			sum := 0
			for dy := range n {
				at := (y*n+dy)*g.width + x*n
				for _, p := range g.pixels[at : at+n] {
					sum += int(p)
				}
			}
			out.pixels[y*out.width+x] = byte(sum / (n * n))
		}
	}
	return out
}

// codes looks for several codes, then for one, then for one in light on dark.
func (g greys) codes() []string {
	var source gozxing.LuminanceSource
	source, err := gozxing.NewPlanarYUVLuminanceSource(g.pixels, g.width, g.height, 0, 0, g.width, g.height, false)
	if err != nil {
		return nil
	}
	var texts []string
	attempt(func(corners func(int) map[gozxing.DecodeHintType]any) error {
		bitmap, err := gozxing.NewBinaryBitmap(gozxing.NewHybridBinarizer(source))
		if err != nil {
			return err
		}
		many, err := multi.NewQRCodeMultiReader().DecodeMultiple(bitmap, corners(cornersOfMany))
		for _, x := range many {
			texts = append(texts, x.GetText())
		}
		return err
	})
	for _, s := range []gozxing.LuminanceSource{source, source.Invert()} {
		if len(texts) > 0 {
			break
		}
		attempt(func(corners func(int) map[gozxing.DecodeHintType]any) error {
			bitmap, err := gozxing.NewBinaryBitmap(gozxing.NewHybridBinarizer(s))
			if err != nil {
				return err
			}
			one, err := qrcode.NewQRCodeReader().Decode(bitmap, corners(cornersOfOne))
			if err == nil {
				texts = append(texts, one.GetText())
			}
			return err
		})
	}
	return texts
}

// attempt calls f, which reads a picture with the library, and makes nothing of
// whatever it does not like: it was not written for pictures of enemies. The hints
// that f asks for end it when it has found more corners than it says.
func attempt(f func(corners func(most int) map[gozxing.DecodeHintType]any) error) {
	defer func() { recover() }() //nolint:errcheck // no code was found
	_ = f(func(most int) map[gozxing.DecodeHintType]any {
		found := 0
		return map[gozxing.DecodeHintType]any{
			gozxing.DecodeHintType_TRY_HARDER: true,
			gozxing.DecodeHintType_NEED_RESULT_POINT_CALLBACK: gozxing.ResultPointCallback(func(p gozxing.ResultPoint) {
				if _, corner := p.(*detector.FinderPattern); corner {
					if found++; found > most {
						panic("too many corners")
					}
				}
			}),
		}
	})
}
