package web

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
)

// parts are those of a document of n bytes that do not pack.
func parts(t *testing.T, n int) []string {
	t.Helper()
	doc := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range doc {
		doc[i] = byte(r.Uint32())
	}
	p, err := export.SplitParts(doc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// drawn is a QR code as our own encoder draws it.
func drawn(t *testing.T, text string, pixels int) image.Image {
	t.Helper()
	var b bytes.Buffer
	if err := export.WriteQRPNG(&b, text, pixels); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// photo lays codes on a grey desk, turned by an angle, with uneven light and noise,
// and takes them as JPEG.
func photo(t *testing.T, width, height int, turn float64, codes ...image.Image) []byte {
	t.Helper()
	desk := image.NewGray(image.Rect(0, 0, width, height))
	draw.Draw(desk, desk.Bounds(), image.NewUniform(color.Gray{170}), image.Point{}, draw.Src)
	r := rand.New(rand.NewPCG(3, 4))
	sin, cos := math.Sincos(turn)
	for i, code := range codes {
		b := code.Bounds()
		cx, cy := float64(width)*(float64(i)+0.5)/float64(len(codes)), float64(height)/2
		reach := b.Dx()
		for dy := -reach; dy < reach; dy++ {
			for dx := -reach; dx < reach; dx++ {
				x := int(math.Round(float64(dx)*cos+float64(dy)*sin)) + b.Dx()/2
				y := int(math.Round(float64(dy)*cos-float64(dx)*sin)) + b.Dy()/2
				if at := image.Pt(int(cx)+dx, int(cy)+dy); image.Pt(x, y).In(b) && at.In(desk.Bounds()) {
					desk.Set(at.X, at.Y, code.At(x, y))
				}
			}
		}
	}
	for y := range height {
		for x := range width {
			light := 0.65 + 0.3*float64(x)/float64(width)
			v := float64(desk.GrayAt(x, y).Y)*light + r.NormFloat64()*6 + 15
			desk.SetGray(x, y, color.Gray{uint8(min(255, max(0, v)))})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, desk, &jpeg.Options{Quality: 80}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// terminal draws a QR code as a terminal does: light letters on a dark ground.
func terminal(t *testing.T, text string) []byte {
	t.Helper()
	var b strings.Builder
	if err := export.WriteQRText(&b, text, false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	const w, h = 6, 12 // of a letter
	img := image.NewGray(image.Rect(0, 0, (len([]rune(lines[0]))+8)*w, (len(lines)+4)*h))
	for row, line := range lines {
		for col, c := range []rune(line) {
			x, y := (col+4)*w, (row+2)*h
			if c == '█' || c == '▀' {
				draw.Draw(img, image.Rect(x, y, x+w, y+h/2), image.White, image.Point{}, draw.Src)
			}
			if c == '█' || c == '▄' {
				draw.Draw(img, image.Rect(x, y+h/2, x+w, y+h), image.White, image.Point{}, draw.Src)
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// L-13: the codes that our programs draw are read: as a picture of the screen, from
// a terminal, in a photo, turned, and several at once.
func TestReadQR(t *testing.T) {
	p := parts(t, 1500)
	if len(p) != 3 {
		t.Fatalf("%d parts, want 3", len(p))
	}
	var screen bytes.Buffer
	if err := export.WriteQRPNG(&screen, p[0], 4); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		picture []byte
		want    []string
	}{
		"screen":         {screen.Bytes(), p[:1]},
		"terminal":       {terminal(t, p[1]), p[1:2]},
		"photo":          {photo(t, 1600, 1200, 0.05, drawn(t, p[2], 7)), p[2:]},
		"turned":         {photo(t, 1600, 1200, 2.5, drawn(t, p[2], 7)), p[2:]},
		"several":        {photo(t, 2400, 1000, 0.03, drawn(t, p[0], 6), drawn(t, p[1], 6), drawn(t, p[2], 6)), p},
		"of a telephone": {photo(t, 4000, 3000, 0.1, drawn(t, p[0], 14)), p[:1]},
		"typed code":     {photo(t, 800, 600, 0.1, drawn(t, "25D0C-622T2-EJNDM-DWMQF-HA", 8)), []string{"25D0C-622T2-EJNDM-DWMQF-HA"}},
		"a desk":         {photo(t, 800, 600, 0), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readQR(bytes.NewReader(x.picture), pictureTime)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Sorted(slices.Values(x.want))
			if !slices.Equal(got, want) {
				t.Errorf("readQR = %.60q, want %.60q", got, want)
			}
		})
	}
}

// pngOf is a PNG that says it has so many pixels, and holds few bytes.
func pngOf(width, height uint32) []byte {
	var b bytes.Buffer
	b.WriteString("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		binary.Write(&b, binary.BigEndian, uint32(len(data)))
		b.WriteString(kind)
		b.Write(data)
		binary.Write(&b, binary.BigEndian, crc32.ChecksumIEEE(append([]byte(kind), data...)))
	}
	head := binary.BigEndian.AppendUint32(nil, width)
	head = binary.BigEndian.AppendUint32(head, height)
	chunk("IHDR", append(head, 8, 0, 0, 0, 0))
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	var row []byte
	if uint64(width)*uint64(height) <= picturePixelsMax { // else nobody reads so far
		row = make([]byte, width+1)
	} else {
		height = 0
	}
	for range height {
		w.Write(row)
	}
	w.Close()
	chunk("IDAT", z.Bytes())
	chunk("IEND", nil)
	return b.Bytes()
}

// Pictures that were made to hurt are refused by their head, or read in bounded
// time, with or without a code.
func TestReadQRHostile(t *testing.T) {
	corners := image.NewGray(image.Rect(0, 0, 2000, 2000))
	draw.Draw(corners, corners.Bounds(), image.White, image.Point{}, draw.Src)
	for y := 0; y+18 < 2000; y += 18 { // 12,000 corners of codes, and no code
		for x := 0; x+18 < 2000; x += 18 {
			draw.Draw(corners, image.Rect(x, y, x+14, y+14), image.Black, image.Point{}, draw.Src)
			draw.Draw(corners, image.Rect(x+2, y+2, x+12, y+12), image.White, image.Point{}, draw.Src)
			draw.Draw(corners, image.Rect(x+4, y+4, x+10, y+10), image.Black, image.Point{}, draw.Src)
		}
	}
	var many bytes.Buffer
	if err := png.Encode(&many, corners); err != nil {
		t.Fatal(err)
	}
	code := photo(t, 800, 600, 0, drawn(t, parts(t, 10)[0], 4))
	for name, x := range map[string]struct {
		picture []byte
		refused bool
	}{
		"too many pixels":   {pngOf(60000, 60000), true},
		"overflowing":       {pngOf(1<<31-1, 1<<31-1), true},
		"no width":          {pngOf(0, 5), true},
		"no picture":        {[]byte("hello"), true},
		"nothing":           {nil, true},
		"cut":               {code[:len(code)/2], true},
		"white":             {pngOf(3000, 3000), false},
		"12,000 corners":    {many.Bytes(), false},
		"scans without end": {scans(), true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readQR(bytes.NewReader(x.picture), 500*time.Millisecond)
			if (err != nil) != x.refused || len(got) != 0 {
				t.Errorf("readQR = %q, %v, want a refusal %t", got, err, x.refused)
			}
			if late := err != nil && strings.Contains(err.Error(), "too long"); late != (name == "scans without end") {
				t.Errorf("readQR = %v: it took too long %t", err, late)
			}
		})
	}
}

// scans is a progressive JPEG of 16 million pixels that is drawn over again and
// again: a scan has few bytes, and says that all of its 262,144 blocks are empty.
func scans() []byte {
	bits, n := []byte{}, 0
	bit := func(one byte) {
		if n%8 == 0 {
			bits = append(bits, 0)
		}
		bits[len(bits)-1] |= one << (7 - n%8)
		n++
	}
	for range 9 { // runs of 32,767 blocks
		bit(0)
		for range 14 {
			bit(1)
		}
	}
	scan := []byte{0xff, 0xda, 0, 8, 1, 1, 0, 1, 63, 0}
	for _, b := range bits {
		if scan = append(scan, b); b == 0xff {
			scan = append(scan, 0)
		}
	}
	b := []byte{0xff, 0xd8, 0xff, 0xc2, 0, 11, 8, 0x10, 0, 0x10, 0, 1, 1, 0x11, 0}
	b = append(b, 0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe0)
	return append(b, bytes.Repeat(scan, 100_000)...)
}
