"""tritonclient over HTTP by asyncio, which is another HTTP library underneath (aiohttp)."""

import asyncio

import numpy
import pytest
import tritonclient.http as triton
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException


def pair(rows: int) -> list[triton.InferInput]:
    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
    return [
        triton.InferInput(name, [rows, 16], "INT32").set_data_from_numpy(array)
        for name, array in (("INPUT0", first), ("INPUT1", numpy.ones_like(first)))
    ]


def test_the_client_for_asyncio_drives_every_call(server):
    async def drive():
        async with tritonclient.http.aio.InferenceServerClient(server.http) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("simple")
            assert not await client.is_model_ready("nobody")
            assert (await client.get_server_metadata())["name"]
            assert (await client.get_model_metadata("simple"))["name"] == "simple"
            assert (await client.get_model_config("simple"))["name"] == "simple"
            assert (await client.get_inference_statistics("simple"))["model_stats"][0]["name"] == "simple"
            assert "simple" in {model["name"] for model in await client.get_model_repository_index()}
            for compression in (None, "gzip", "deflate"):
                calls = [
                    client.infer(
                        "simple",
                        pair(rows),
                        request_compression_algorithm=compression,
                        response_compression_algorithm=compression,
                    )
                    for rows in range(1, 9)
                ]
                for rows, result in enumerate(await asyncio.gather(*calls), 1):
                    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
                    numpy.testing.assert_array_equal(result.as_numpy("OUTPUT0"), first + 1)
            with pytest.raises(InferenceServerException) as caught:
                await client.infer("nobody", pair(1))
            assert caught.value.status() == "404" and "nobody" in caught.value.message()

    asyncio.run(drive())
