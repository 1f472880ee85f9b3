#!/usr/bin/env python3
"""Writes tests/image/corpus: small pictures for the tests and as seeds of the fuzzer, written by Pillow or by hand.

Every file holds 13 x 9 pixels of one of three pictures, which its name starts with: rgb_ (15 x, 25 y, 200 - 10 x),
grey_ (12 x + 8 y) and bits_ (black where x + y is even, else white). What follows `_lossy` may differ a little.

usage: make_image_corpus.py tests/image/corpus     (with an interpreter that has Pillow)
"""
import io
import struct
import sys
import zlib
from pathlib import Path

from PIL import Image

W, H = 13, 9
PIXELS = [(x, y) for y in range(H) for x in range(W)]


def picture(mode, pixel):
    image = Image.new(mode, (W, H))
    image.putdata([pixel(x, y) for x, y in PIXELS])
    return image


RGB = picture("RGB", lambda x, y: (15 * x, 25 * y, 200 - 10 * x))
GREY = picture("L", lambda x, y: 12 * x + 8 * y)
BITS = picture("1", lambda x, y: 255 * ((x + y) % 2))
RGBA = picture("RGBA", lambda x, y: (15 * x, 25 * y, 200 - 10 * x, 255))
CMYK = picture("CMYK", lambda x, y: (255 - 15 * x, 255 - 25 * y, 55 + 10 * x, 0))
PALETTE = RGB.quantize(256)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def interlaced_png():
    """16 bits, Adam7: what Pillow does not write."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    rows = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        for y in range(y0, H, dy):
            if x0 < W:
                rows += b"\0" + b"".join(struct.pack(">3H", *(257 * v for v in RGB.getpixel((x, y)))) for x in range(x0, W, dx))
    header = struct.pack(">2I5B", W, H, 16, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def masked_bmp():
    """32 bits with masks in an order of their own, rows from the top."""
    header = struct.pack("<IiiHHIIiiII", 40, W, -H, 1, 32, 3, W * H * 4, 0, 0, 0, 0)
    masks = struct.pack("<3I", 0xFF000000, 0xFF00, 0xFF)
    data = b"".join(struct.pack("<4B", b, g, 0, r) for r, g, b in RGB.getdata())
    return b"BM" + struct.pack("<IHHI", 66 + len(data), 0, 0, 66) + header + masks + data


def text(kind, values, largest=None):
    return (f"{kind}\n# a comment\n{W} {H}\n" + (f"{largest}\n" if largest else "") + " ".join(map(str, values)) + "\n").encode()


def files():
    yield "rgb_png", saved(RGB, "PNG")
    yield "rgb_png_palette", saved(PALETTE, "PNG")
    yield "rgb_png_alpha", saved(RGBA, "PNG")
    yield "rgb_png_16_interlaced", interlaced_png()
    yield "grey_png", saved(GREY, "PNG")
    yield "bits_png", saved(BITS, "PNG")
    yield "rgb_lossy_jpeg", saved(RGB, "JPEG", quality=95, subsampling=0)
    yield "rgb_lossy_jpeg_progressive", saved(RGB, "JPEG", quality=95, progressive=True)
    yield "rgb_lossy_jpeg_cmyk", saved(CMYK, "JPEG", quality=98)
    yield "grey_lossy_jpeg", saved(GREY, "JPEG", quality=95)
    yield "rgb_jp2", saved(RGB, "JPEG2000")
    yield "rgb_j2k", saved(RGB, "JPEG2000", no_jp2=True)
    yield "grey_jp2", saved(GREY, "JPEG2000")
    yield "rgb_lossy_jp2", saved(RGB, "JPEG2000", irreversible=True, quality_mode="dB", quality_layers=[45])
    yield "rgb_webp", saved(RGB, "WEBP", lossless=True)
    yield "rgb_lossy_webp", saved(RGB, "WEBP", quality=95)
    yield "rgb_tiff", saved(RGB, "TIFF")
    yield "rgb_tiff_lzw", saved(RGB, "TIFF", compression="tiff_lzw")
    yield "rgb_tiff_deflate", saved(RGB, "TIFF", compression="tiff_deflate")
    yield "rgb_tiff_palette", saved(PALETTE, "TIFF")
    yield "grey_tiff", saved(GREY, "TIFF")
    yield "bits_tiff_fax", saved(BITS, "TIFF", compression="group4")
    yield "rgb_bmp", saved(RGB, "BMP")
    yield "rgb_bmp_palette", saved(PALETTE, "BMP")
    yield "rgb_bmp_masks", masked_bmp()
    yield "grey_bmp", saved(GREY, "BMP")
    yield "bits_bmp", saved(BITS, "BMP")
    flat = [v for pixel in RGB.getdata() for v in pixel]
    yield "rgb_ppm", saved(RGB, "PPM")
    yield "rgb_ppm_text", text("P3", flat, 255)
    yield "rgb_ppm_16", f"P6 {W} {H} 65535\n".encode() + b"".join(struct.pack(">H", 257 * v) for v in flat)
    yield "grey_pgm", saved(GREY, "PPM")
    yield "grey_pgm_text", text("P2", GREY.getdata(), 255)
    yield "bits_pbm", saved(BITS, "PPM")
    yield "bits_pbm_text", text("P1", [0 if v else 1 for v in BITS.getdata()])


folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, content in files():
    (folder / name).write_bytes(content)
