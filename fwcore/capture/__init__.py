from fwcore.capture.chunk import Chunk
