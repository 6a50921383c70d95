#include "titan/data/dataset_files.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "tests/unit/data/text_on_disk.h"

namespace titan::data {
namespace {

std::string refusal(const std::filesystem::path& path) {
  return message_of<c10::ValueError>([&] { list_dataset_files(path, "training.dataset_path"); });
}

TEST(DatasetFiles, FolderGivesItsJsonFilesInByteOrderOfNames) {
  const TemporaryFolder folder;
  for (const char* name : {"b.json", "a.jsonl.gz", "B.json.zst", "a10.jsonl", "a9.jsonl", "notes.txt", "c.csv",
                           ".hidden.json", "d.json.bak"}) {
    folder.write(name, "{}");
  }
  std::filesystem::create_directory(folder.path() / "folder.json");
  std::vector<std::string> names;
  for (const DatasetFile& file : list_dataset_files(folder.path(), "key")) names.push_back(file.path.filename());
  EXPECT_EQ(names, (std::vector<std::string>{"B.json.zst", "a.jsonl.gz", "a10.jsonl", "a9.jsonl", "b.json"}));
}

TEST(DatasetFiles, NameOfAFileTellsItsFormat) {
  const TemporaryFolder folder;
  EXPECT_EQ(list_dataset_files(folder.write("a.txt.zst", "abc"), "key").at(0).format, FileFormat::kText);
  EXPECT_EQ(list_dataset_files(folder.write("a.json", "abc"), "key").at(0).format, FileFormat::kJsonLines);
  EXPECT_EQ(list_dataset_files(folder.path() / "a.json", "key").at(0).size, 3);
}

TEST(DatasetFiles, RefusesWhatItCannotReadAndNamesTheKey) {
  const TemporaryFolder folder;
  EXPECT_EQ(refusal("/nowhere"),
            "training.dataset_path: no file or folder at /nowhere; expected a .json, .jsonl or .txt file (also .gz, "
            ".zst) or a folder of .json and .jsonl files");
  EXPECT_EQ(refusal(folder.path()), "training.dataset_path: the folder " + folder.path().string() +
                                        " has no *.json or *.jsonl files (also .gz, .zst); name a .txt file itself");
  EXPECT_EQ(refusal(folder.write("a.parquet", "")),
            "training.dataset_path: expected a name that ends in .json, .jsonl or .txt (then .gz or .zst), got "
            "a.parquet; rename the file");
  EXPECT_NE(refusal("/dev/null").find("is not a regular file"), std::string::npos);
  EXPECT_NE(refusal(""), "");
}

TEST(DatasetFiles, ChangedAndVanishedFilesAreNamed) {
  const TemporaryFolder folder;
  const DatasetFile file = list_dataset_files(folder.write("a.json", "abc"), "key").at(0);
  EXPECT_NO_THROW(check_unchanged(file));
  folder.write("a.json", "abcd");
  EXPECT_EQ(message_of<c10::Error>([&] { check_unchanged(file); }),
            file.path.string() + ": changed while in use (3 bytes at the start, now 4); restore it, or start anew");
  std::filesystem::remove(file.path);
  EXPECT_EQ(message_of<c10::Error>([&] { check_unchanged(file); }),
            file.path.string() + ": cannot read any more: No such file or directory");
}

}  // namespace
}  // namespace titan::data
