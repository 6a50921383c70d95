#include "titan/data/byte_reader.h"

#include <c10/util/Exception.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace titan::data {
namespace {

constexpr size_t kInputBytes = size_t{1} << 17;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File open_file(const std::filesystem::path& path) {
  File file(std::fopen(path.c_str(), "rbe"));
  TORCH_CHECK(file != nullptr, path.string(), ": cannot open: ", std::strerror(errno));
  return file;
}

size_t read_file(std::FILE* file, const std::filesystem::path& path, char* bytes, size_t size) {
  const size_t num_read = std::fread(bytes, 1, size, file);
  TORCH_CHECK(num_read > 0 || std::ferror(file) == 0, path.string(), ": cannot read: ", std::strerror(errno));
  return num_read;
}

class PlainReader : public ByteReader {
 public:
  explicit PlainReader(const std::filesystem::path& path) : path_(path), file_(open_file(path)) {
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);  // callers read in large pieces
  }
  size_t read(char* bytes, size_t size) override { return read_file(file_.get(), path_, bytes, size); }

 private:
  std::filesystem::path path_;
  File file_;
};

class GzipReader : public ByteReader {
 public:
  explicit GzipReader(const std::filesystem::path& path) : path_(path), file_(gzopen(path.c_str(), "rbe")) {
    TORCH_CHECK(file_ != nullptr, path_.string(), ": cannot open: ", std::strerror(errno));
    gzbuffer(file_, kInputBytes);
  }
  ~GzipReader() override { gzclose_r(file_); }
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  size_t read(char* bytes, size_t size) override {
    const auto limit = static_cast<unsigned>(std::min<size_t>(size, 1u << 30));
    const int num_read = gzread(file_, bytes, limit);
    int error = Z_OK;
    const char* message = gzerror(file_, &error);
    TORCH_CHECK(error != Z_BUF_ERROR, path_.string(), ": the gzip data is cut short");
    // zlib's own message repeats the path.
    TORCH_CHECK(num_read >= 0, path_.string(), ": the gzip data is damaged: ",
                error == Z_ERRNO             ? std::strerror(errno)
                : std::strrchr(message, ':') ? std::strrchr(message, ':') + 2
                                             : message);
    return static_cast<size_t>(num_read);
  }

 private:
  std::filesystem::path path_;
  gzFile file_;
};

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

class ZstdReader : public ByteReader {
 public:
  explicit ZstdReader(const std::filesystem::path& path)
      : path_(path), file_(open_file(path)), context_(ZSTD_createDCtx()), input_bytes_(kInputBytes) {
    // Files written with --long need windows that the default refuses. Memory is taken only as a frame asks for it.
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound);
  }

  size_t read(char* bytes, size_t size) override {
    ZSTD_outBuffer output{bytes, size, 0};
    while (output.pos == 0) {
      if (input_.pos == input_.size) {
        input_ = {input_bytes_.data(), read_file(file_.get(), path_, input_bytes_.data(), input_bytes_.size()), 0};
        at_end_ = input_.size == 0;
      }
      // Without input it may still hold output back; only when that is out, too, is this the end.
      const size_t before = output.pos;
      if (at_end_ && !inside_frame_) return 0;
      const size_t result = ZSTD_decompressStream(context_.get(), &output, &input_);
      TORCH_CHECK(!ZSTD_isError(result), path_.string(), ": the zstd data is damaged: ", ZSTD_getErrorName(result));
      inside_frame_ = result != 0;
      TORCH_CHECK(!(at_end_ && inside_frame_ && output.pos == before), path_.string(), ": the zstd data is cut short");
    }
    return output.pos;
  }

 private:
  std::filesystem::path path_;
  File file_;
  std::unique_ptr<ZSTD_DCtx, FreeContext> context_;
  std::vector<char> input_bytes_;
  ZSTD_inBuffer input_{nullptr, 0, 0};
  bool inside_frame_ = false;
  bool at_end_ = false;
};

class RangeReader : public ByteReader {
 public:
  RangeReader(int fd, int64_t begin, int64_t size, std::filesystem::path name)
      : fd_(fd), at_(begin), end_(begin + size), name_(std::move(name)) {}

  size_t read(char* bytes, size_t size) override {
    size = std::min(size, static_cast<size_t>(end_ - at_));
    if (size == 0) return 0;
    const ssize_t num_read = pread(fd_, bytes, size, at_);
    TORCH_CHECK(num_read >= 0, name_.string(), ": cannot read: ", std::strerror(errno));
    TORCH_CHECK(num_read > 0, name_.string(), ": ended before byte ", end_, "; was it changed while in use?");
    at_ += num_read;
    return static_cast<size_t>(num_read);
  }

 private:
  int fd_;
  int64_t at_;
  int64_t end_;
  std::filesystem::path name_;
};

}  // namespace

Compression detect_compression(const std::filesystem::path& path) {
  const File file = open_file(path);
  unsigned char magic[4] = {};
  const size_t size = read_file(file.get(), path, reinterpret_cast<char*>(magic), sizeof magic);
  if (size >= 2 && magic[0] == 0x1f && magic[1] == 0x8b) return Compression::kGzip;
  const bool frame = size == 4 && magic[0] == 0x28 && magic[1] == 0xb5 && magic[2] == 0x2f && magic[3] == 0xfd;
  const bool skippable =
      size == 4 && (magic[0] & 0xf0) == 0x50 && magic[1] == 0x2a && magic[2] == 0x4d && magic[3] == 0x18;
  return frame || skippable ? Compression::kZstd : Compression::kNone;
}

std::unique_ptr<ByteReader> open_bytes(const std::filesystem::path& path) {
  switch (detect_compression(path)) {
    case Compression::kGzip:
      return std::make_unique<GzipReader>(path);
    case Compression::kZstd:
      return std::make_unique<ZstdReader>(path);
    case Compression::kNone:
      break;
  }
  return std::make_unique<PlainReader>(path);
}

std::unique_ptr<ByteReader> open_range(int fd, int64_t begin, int64_t size, std::filesystem::path name) {
  return std::make_unique<RangeReader>(fd, begin, size, std::move(name));
}

}  // namespace titan::data
