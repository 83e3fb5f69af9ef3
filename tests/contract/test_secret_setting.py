"""Where sealing keys come from is said once."""

from pathlib import Path

import pytest

from bfactors.errors import SettingsError
from bfactors.settings import load
from deploy.role.custody import SealingKeyFile
from deploy.role.sealing import Sealing
from gateways.kms import KmsCustody

ARNS = "arn:aws:kms:eu-central-1:111122223333:key/new,arn:aws:kms:eu-central-1:111122223333:key/old"


def test_a_key_file_and_kms_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="exclude each other"):
        load({"BF_SECRET_KEY_FILE": "sealing.key", "BF_SECRET_KMS_KEY_ARNS": ARNS}, {}, {})


async def test_kms_keys_need_no_file_and_no_answer_to_start_with() -> None:
    sealing = await Sealing.open(load({"BF_SECRET_KMS_KEY_ARNS": ARNS}, {}, {}))
    try:
        assert isinstance(sealing.custody, KmsCustody)
    finally:
        await sealing.close()


async def test_a_key_file_must_exist_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    settings = load({"BF_SECRET_KEY_FILE": str(path)}, {}, {})
    with pytest.raises(SettingsError, match="cannot be read"):
        await Sealing.open(settings)
    SealingKeyFile.make(path)
    sealing = await Sealing.open(settings)
    assert isinstance(sealing.custody, SealingKeyFile)
    await sealing.close()
