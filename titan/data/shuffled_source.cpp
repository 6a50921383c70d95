// Documents in shuffled order. One pass over the files finds where each document begins (8 bytes a document; the
// epoch's order takes 4 more); then each is read from its place. A compressed file has no places to read from, so it
// is unpacked first: all of them into one file without a name, which takes as much disk as the text is long and goes
// away with the process, however that ends.
#include <c10/util/Exception.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "titan/data/document_source.h"
#include "titan/data/line_reader.h"
#include "titan/logging/logger.h"

namespace titan::data {
namespace {

// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class Random {
 public:
  explicit Random(uint64_t state) : state_(state) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // Below `bound`, each equally likely (Lemire: Fast random integer generation in an interval, 2019).
  uint32_t below(uint32_t bound) {
    uint64_t product = (next() >> 32) * bound;
    const uint32_t threshold = (0u - bound) % bound;
    while (static_cast<uint32_t>(product) < threshold) product = (next() >> 32) * bound;
    return static_cast<uint32_t>(product >> 32);
  }

 private:
  uint64_t state_;
};

class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

std::filesystem::path temporary_folder() {
  const char* folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

OwnedFd open_nameless_file() {
  std::string name = (temporary_folder() / "titan-shuffle-XXXXXX").string();
  OwnedFd fd(mkostemp(name.data(), O_CLOEXEC));
  TORCH_CHECK(fd.is_open(), "data.shuffle: cannot create a temporary file in ", temporary_folder().string(), ": ",
              std::strerror(errno), "; set TMPDIR to a folder with room for the unpacked text");
  unlink(name.c_str());
  return fd;
}

class ShuffledSource : public DocumentSource {
 public:
  ShuffledSource(std::vector<DatasetFile> files, const TextDatasetOptions& options, std::stop_token stop)
      : max_document_bytes_(options.max_document_bytes), seed_(options.seed), stop_(std::move(stop)) {
    for (DatasetFile& file : files) places_.push_back({.file = std::move(file)});
  }

  void start_epoch(int64_t epoch) override {
    if (!indexed_) build_index();
    order_ = shuffled_order(static_cast<uint32_t>(offsets_.size()), seed_, epoch);
    next_ = 0;
  }

  bool next(RawDocument& document) override {
    if (next_ == order_.size()) return false;
    const uint64_t index = order_[next_++];
    // The place that holds the index: the last whose first document is not behind it.
    const auto behind = std::upper_bound(places_.begin(), places_.end(), index,
                                         [](uint64_t i, const Place& place) { return i < place.first_document; });
    const auto place_index = static_cast<size_t>(behind - places_.begin() - 1);
    const Place& place = places_[place_index];
    const uint64_t offset = offsets_[index];
    document.file_index = static_cast<int64_t>(place_index);
    document.line = place.file.format == FileFormat::kText ? 1 : 0;
    document.offset = static_cast<int64_t>(offset);
    read_document(place_index, document);
    return true;
  }

 private:
  // Where a file's bytes can be read at an offset: in the file itself, or from `begin` on in the unpacked file.
  struct Place {
    DatasetFile file;
    bool unpacked = false;
    int64_t begin = 0;
    int64_t size = 0;             // bytes of text
    uint64_t first_document = 0;  // index of its first document among all
  };

  void build_index() {
    for (size_t i = 0; i < places_.size(); ++i) {
      Place& place = places_[i];
      check_unchanged(place.file);
      place.size = place.file.size;
      if (detect_compression(place.file.path) != Compression::kNone) unpack(place);
      place.first_document = offsets_.size();
      index_documents(i);
    }
    TORCH_CHECK(offsets_.size() <= std::numeric_limits<uint32_t>::max(), "data.shuffle: takes at most ",
                std::numeric_limits<uint32_t>::max(), " documents, got ", offsets_.size(),
                "; shuffle the files beforehand");
    offsets_.shrink_to_fit();
    indexed_ = true;
  }

  void index_documents(size_t place_index) {
    if (places_[place_index].file.format == FileFormat::kText) {
      // The byte order mark stands before the document, not in it.
      char mark[3] = {};
      const size_t size = read_from(place_index, 0)->read(mark, sizeof mark);
      const uint64_t begin = std::string_view(mark, size) == "\xef\xbb\xbf" ? 3 : 0;
      if (static_cast<uint64_t>(places_[place_index].size) > begin) offsets_.push_back(begin);
      return;
    }
    LineReader lines(read_from(place_index, 0), max_document_bytes_);
    Line line;
    while (lines.next(line)) {
      if (line.too_long || !is_blank(line.bytes)) {
        if (offsets_.size() == places_[place_index].first_document) {
          check_is_json_lines(places_[place_index].file, line.bytes);
        }
        offsets_.push_back(static_cast<uint64_t>(line.offset));
      }
      TORCH_CHECK(!stop_.stop_requested(), "data.shuffle: stopped");
    }
  }

  void unpack(Place& place) {
    if (!unpacked_.is_open()) {
      unpacked_ = open_nameless_file();
      logging::info("data.shuffle: unpacking the compressed files into a temporary file in {}",
                    temporary_folder().string());
    }
    place.unpacked = true;
    place.begin = unpacked_size_;
    const std::unique_ptr<ByteReader> reader = open_bytes(place.file.path);
    std::vector<char> buffer(size_t{1} << 18);
    while (const size_t size = reader->read(buffer.data(), buffer.size())) {
      TORCH_CHECK(!stop_.stop_requested(), "data.shuffle: stopped");
      for (size_t done = 0; done < size;) {
        const ssize_t written = write(unpacked_.get(), buffer.data() + done, size - done);
        TORCH_CHECK(written >= 0, "data.shuffle: cannot unpack ", place.file.path.string(), " into ",
                    temporary_folder().string(), ": ", std::strerror(errno),
                    "; set TMPDIR to a folder with room for the unpacked text");
        done += static_cast<size_t>(written);
      }
      unpacked_size_ += static_cast<int64_t>(size);
    }
    place.size = unpacked_size_ - place.begin;
  }

  std::unique_ptr<ByteReader> read_from(size_t place_index, int64_t offset) {
    const Place& place = places_[place_index];
    const int fd = place.unpacked ? unpacked_.get() : open_place(place_index);
    return open_range(fd, place.begin + offset, place.size - offset, place.file.path);
  }

  // Keeps some files open: opening is slow on network file systems, and a process may hold about a thousand.
  int open_place(size_t place_index) {
    for (const auto& [index, fd] : open_files_) {
      if (index == place_index) return fd.get();
    }
    const DatasetFile& file = places_[place_index].file;
    check_unchanged(file);
    OwnedFd fd(open(file.path.c_str(), O_RDONLY | O_CLOEXEC));
    TORCH_CHECK(fd.is_open(), file.path.string(), ": cannot open: ", std::strerror(errno));
    if (open_files_.size() < kMaxOpenFiles) {
      open_files_.emplace_back(place_index, std::move(fd));
      return open_files_.back().second.get();
    }
    next_replaced_ = (next_replaced_ + 1) % kMaxOpenFiles;
    open_files_[next_replaced_] = {place_index, std::move(fd)};
    return open_files_[next_replaced_].second.get();
  }

  // Up to the newline of a line, or the end of a text.
  void read_document(size_t place_index, RawDocument& document) {
    const bool is_line = places_[place_index].file.format == FileFormat::kJsonLines;
    const std::unique_ptr<ByteReader> reader = read_from(place_index, document.offset);
    document.bytes.clear();
    document.too_long = false;
    size_t piece = size_t{1} << 14;
    for (bool complete = false; !complete; piece = std::min(2 * piece, size_t{1} << 22)) {
      const size_t size = document.bytes.size();
      document.bytes.resize(size + piece);
      const size_t num_read = reader->read(document.bytes.data() + size, piece);
      document.bytes.resize(size + num_read);
      const size_t newline = is_line ? document.bytes.find('\n', size) : std::string::npos;
      complete = num_read == 0 || newline != std::string::npos;
      if (newline != std::string::npos) document.bytes.resize(newline);
      const bool has_return = is_line && document.bytes.ends_with('\r');
      if (complete && has_return) document.bytes.pop_back();
      if (static_cast<int64_t>(document.bytes.size()) <= max_document_bytes_ + (complete ? 0 : 1)) continue;
      std::string().swap(document.bytes);
      document.too_long = true;
      return;
    }
  }

  static constexpr size_t kMaxOpenFiles = 128;

  int64_t max_document_bytes_;
  uint64_t seed_;
  std::stop_token stop_;
  std::vector<Place> places_;
  bool indexed_ = false;
  std::vector<uint64_t> offsets_;  // of each document in its file's text
  std::vector<uint32_t> order_;
  size_t next_ = 0;
  OwnedFd unpacked_;
  int64_t unpacked_size_ = 0;
  std::vector<std::pair<size_t, OwnedFd>> open_files_;
  size_t next_replaced_ = 0;
};

}  // namespace

std::vector<uint32_t> shuffled_order(uint32_t size, uint64_t seed, int64_t epoch) {
  std::vector<uint32_t> order(size);
  for (uint32_t i = 0; i < size; ++i) order[i] = i;
  // Two rounds of mixing, so that (seed, epoch + 1) and (seed + 1, epoch) are as far apart as any others.
  Random random(Random(Random(seed).next() ^ static_cast<uint64_t>(epoch)).next());
  for (uint32_t i = size; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

std::unique_ptr<DocumentSource> make_shuffled_source(std::vector<DatasetFile> files, const TextDatasetOptions& options,
                                                     std::stop_token stop) {
  return std::make_unique<ShuffledSource>(std::move(files), options, std::move(stop));
}

}  // namespace titan::data
