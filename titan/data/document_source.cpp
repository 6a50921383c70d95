#include "titan/data/document_source.h"

#include <c10/util/Exception.h>

#include <optional>
#include <utility>

#include "titan/data/line_reader.h"

namespace titan::data {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// A whole stream as one document; false where it is empty.
bool read_text(ByteReader& bytes, int64_t max_bytes, RawDocument& document) {
  document.bytes.clear();
  document.too_long = false;
  document.line = 1;
  document.offset = 0;
  std::vector<char> buffer(size_t{1} << 18);
  while (const size_t size = bytes.read(buffer.data(), buffer.size())) {
    document.bytes.append(buffer.data(), size);
    if (static_cast<int64_t>(document.bytes.size()) <= max_bytes) continue;
    std::string().swap(document.bytes);
    document.too_long = true;
    return true;
  }
  if (document.bytes.starts_with(kByteOrderMark)) document.bytes.erase(0, kByteOrderMark.size());
  return !document.bytes.empty();
}

class FileOrderSource : public DocumentSource {
 public:
  FileOrderSource(std::vector<DatasetFile> files, int64_t max_document_bytes)
      : files_(std::move(files)), max_document_bytes_(max_document_bytes) {}

  void start_epoch(int64_t /*epoch*/) override {
    lines_.reset();
    file_index_ = -1;
  }

  bool next(RawDocument& document) override {
    for (;;) {
      if (lines_ && next_line(document)) return true;
      lines_.reset();
      if (file_index_ + 1 == static_cast<int64_t>(files_.size())) return false;
      const DatasetFile& file = files_[static_cast<size_t>(++file_index_)];
      check_unchanged(file);
      document.file_index = file_index_;
      if (file.format == FileFormat::kJsonLines) {
        lines_.emplace(open_bytes(file.path), max_document_bytes_);
        at_first_line_ = true;
      } else if (read_text(*open_bytes(file.path), max_document_bytes_, document)) {
        return true;
      }
    }
  }

 private:
  bool next_line(RawDocument& document) {
    line_.bytes.swap(document.bytes);  // read into the document's own buffer
    bool found = false;
    do found = lines_->next(line_);
    while (found && !line_.too_long && is_blank(line_.bytes));
    line_.bytes.swap(document.bytes);
    if (!found) return false;
    if (std::exchange(at_first_line_, false))
      check_is_json_lines(files_[static_cast<size_t>(file_index_)], document.bytes);
    document.file_index = file_index_;
    document.line = line_.number;
    document.offset = line_.offset;
    document.too_long = line_.too_long;
    return true;
  }

  std::vector<DatasetFile> files_;
  int64_t max_document_bytes_;
  int64_t file_index_ = -1;
  std::optional<LineReader> lines_;
  Line line_;
  bool at_first_line_ = false;
};

}  // namespace

std::unique_ptr<DocumentSource> make_document_source(std::vector<DatasetFile> files, const TextDatasetOptions& options,
                                                     std::stop_token stop) {
  if (options.shuffle) return make_shuffled_source(std::move(files), options, std::move(stop));
  return std::make_unique<FileOrderSource>(std::move(files), options.max_document_bytes);
}

void check_is_json_lines(const DatasetFile& file, std::string_view first_line) {
  const size_t begin = first_line.find_first_not_of(" \t");
  TORCH_CHECK_VALUE(begin == std::string_view::npos || first_line[begin] != '[', file.path.string(),
                    ": holds a JSON array; expected one JSON object a line; convert it, for example with jq -c '.[]'");
}

int64_t find_line(const DatasetFile& file, int64_t offset, int64_t max_document_bytes) {
  LineReader lines(open_bytes(file.path), max_document_bytes);
  Line line;
  while (lines.next(line)) {
    if (line.offset == offset) return line.number;
  }
  TORCH_CHECK(false, file.path.string(), ": changed while in use");
}

}  // namespace titan::data
