"""The `.nic` file: one compressed image or cloud (`container`), or a stream of many items (`stream`, `joined`).

    "NIC1"  version  header fields  items  CRC-32
      4        1        ...          ...   4, little-endian

Version 2, which is written; numbers are LEB128 varints:

    header       medium  fingerprint  point length + point  extent
                   1          8          varint + bytes     of an image: H, W; of a cloud: none; of a video: H, W, frame
                                                            rate as numerator, denominator
    one image    count of strings  lengths of all but the last  strings  CRC-32 of everything before it
    a stream     strings of an item  CRC-32 of the header, then blocks, each:
                 count of items  smallest length  bits of a length  lengths less the smallest  strings  CRC-32 of it
      joined     ... or, where strings tell their own ends and follow each other bit by bit:
                 count of items  bytes of the strings  strings  CRC-32 of it

The medium's byte is 0 for an image, 1 for a cloud, 2 for a video; plus 128 for a stream, plus 64 for a joined one. The
fingerprint ties the file to codec, weights and tables. The header's fields are declared in `fields.py`; writing and
reading follow from that.

Version 1 had no medium, only single images, and the length of the last string too; its Gaussian latents with scales of
0.11 and below were coded by another table (`entropy.gaussian.GaussianConditional.rows`). It is read for ever.

A layered file has the point "L", n (two bytes) and n strings, a base and what refines it: its first m strings are the
file of point "L", m. So a file can be shortened by `truncate`, without the codec.
"""

from nic_lightning.bitstream.container import MAX_STRINGS as MAX_STRINGS
from nic_lightning.bitstream.container import Container as Container
from nic_lightning.bitstream.container import count_layers as count_layers
from nic_lightning.bitstream.container import header_bytes as header_bytes
from nic_lightning.bitstream.container import layered_point as layered_point
from nic_lightning.bitstream.container import look as look
from nic_lightning.bitstream.container import made_by as made_by
from nic_lightning.bitstream.container import pack as pack
from nic_lightning.bitstream.container import point_layers as point_layers
from nic_lightning.bitstream.container import truncate as truncate
from nic_lightning.bitstream.container import unpack as unpack
from nic_lightning.bitstream.fields import FINGERPRINT_BYTES as FINGERPRINT_BYTES
from nic_lightning.bitstream.fields import MAGIC as MAGIC
from nic_lightning.bitstream.fields import MAX_PIXELS as MAX_PIXELS
from nic_lightning.bitstream.fields import VERSION as VERSION
from nic_lightning.bitstream.joined import JoinedBlock as JoinedBlock
from nic_lightning.bitstream.joined import JoinedReader as JoinedReader
from nic_lightning.bitstream.joined import JoinedWriter as JoinedWriter
from nic_lightning.bitstream.joined import is_stream as is_stream
from nic_lightning.bitstream.stream import StreamHeader as StreamHeader
from nic_lightning.bitstream.stream import StreamReader as StreamReader
from nic_lightning.bitstream.stream import StreamWriter as StreamWriter
