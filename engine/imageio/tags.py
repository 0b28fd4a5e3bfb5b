"""Names for the numbers of TIFF tags, and for some of their values (TIFF 6.0, its supplements, EXIF 2.32)."""

from __future__ import annotations

from enum import IntEnum


class Tag(IntEnum):
    """Tags of a main directory, and those of EXIF directories that are used."""

    SUBFILE_TYPE = 254
    OLD_SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    THRESHOLDING = 263
    CELL_WIDTH = 264
    CELL_HEIGHT = 265
    FILL_ORDER = 266
    DOCUMENT_NAME = 269
    DESCRIPTION = 270
    MAKE = 271
    MODEL = 272
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_SIZES = 279
    LEAST_SAMPLE = 280
    LARGEST_SAMPLE = 281
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR = 284
    PAGE_NAME = 285
    FREE_OFFSETS = 288
    FREE_SIZES = 289
    GREY_UNIT = 290
    GREY_CURVE = 291
    FAX3_OPTIONS = 292
    FAX4_OPTIONS = 293
    RESOLUTION_UNIT = 296
    PAGE_NUMBER = 297
    TRANSFER = 301
    SOFTWARE = 305
    DATE = 306
    ARTIST = 315
    HOST = 316
    PREDICTOR = 317
    WHITE_POINT = 318
    PRIMARIES = 319
    PALETTE = 320
    HALFTONE_HINTS = 321
    TILE_WIDTH = 322
    CLEAN_FAX = 328
    SUB_DIRECTORIES = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    JPEG_PROCESS = 512
    THUMBNAIL = 513
    THUMBNAIL_SIZE = 514
    JPEG_AC_TABLES = 521
    YCBCR_COEFFICIENTS = 529
    BLACK_AND_WHITE = 532
    XMP = 700
    RATING = 18246
    RATING_PERCENT = 18249
    MATTEING = 32995
    IMAGE_DEPTH = 32997
    TILE_DEPTH = 32998
    CFA_PATTERN_SIZE = 33421
    CFA_PATTERN = 33422
    COPYRIGHT = 33432
    IPTC = 33723
    IMAGE_LAYER = 34232
    PHOTOSHOP = 34377
    """Photoshop resources; ``Metadata.tags`` keeps them under this number for JPEG and PNG too."""
    EXIF = 34665
    PROFILE = 34675
    GPS = 34853
    LAYERS = 37724
    WINDOWS_TITLE = 40091
    WINDOWS_COMMENT = 40092
    WINDOWS_AUTHOR = 40093
    WINDOWS_KEYWORDS = 40094
    WINDOWS_SUBJECT = 40095
    PIXEL_WIDTH = 40962
    PIXEL_HEIGHT = 40963
    INTEROP = 40965
    PRINT_MATCHING = 50341
    RAW_VERSION = 50706
    RAW_SCALE = 50784


class Photometric(IntEnum):
    """Photometric interpretation."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    MASK = 4
    CMYK = 5
    YCBCR = 6
    CIELAB = 8
    ICCLAB = 9
    ITULAB = 10
    RAW = 32803
    LOG_LUMINANCE = 32844
    LOG_LUV = 32845
    LINEAR_RAW = 34892


class Compression(IntEnum):
    """Compression of the pixels."""

    NONE = 1
    CCITT = 2
    FAX3 = 3
    FAX4 = 4
    LZW = 5
    OLD_JPEG = 6
    JPEG = 7
    DEFLATE = 8
    PACKBITS = 32773
    OLD_DEFLATE = 32946
    OLD_JPEG_2 = 33007
    JPEG_2000 = 34712
    LERC = 34887
    LOSSY_RAW_JPEG = 34892
    LZMA = 34925
    ZSTANDARD = 50000
    WEBP = 50001
    JPEG_XL = 50002


class SampleFormat(IntEnum):
    """Number format of the samples."""

    UNSIGNED = 1
    SIGNED = 2
    FLOAT = 3
    UNKNOWN = 4
    COMPLEX_SIGNED = 5
    COMPLEX_FLOAT = 6


UPRIGHT = 1
"""The orientation of an upright picture."""
CHUNKY = 1
"""The planar configuration in which the samples of a pixel are stored together."""
HORIZONTAL = 2
"""The predictor that stores differences of neighbouring samples."""
OPACITY = (1, 2)
"""Kinds of extra samples that are alpha, premultiplied or not."""
REDUCED, TRANSPARENCY_MASK, OLD_REDUCED = 0b1, 0b100, 2
"""Bits of the subfile type, and a value of the old type, of pages that are not the picture itself."""
